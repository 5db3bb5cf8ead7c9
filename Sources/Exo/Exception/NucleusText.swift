import ExoABI
import Nucleus

/// The ring-0 stubs as they stand in memory.
enum NucleusText {
  /// Copies the stubs into their frame.
  static func write(to frame: Frame, in memory: PhysicalMemory) {
    let size = Int(exo_nucleus_size())
    unsafe memory.write(
      UnsafeRawBufferPointer(start: exo_nucleus_bytes(), count: size), at: frame.address)
  }

  /// What a ring-0 `out` at this instruction pointer says. KVM leaves RIP at the instruction or past it.
  enum Report: Hashable {
    case exception(ExceptionVector)
    case systemCall
    case probe
  }
  static func report(instructionPointer: UInt64) -> Report? {
    let offset = instructionPointer &- exo_nucleus_text
    switch offset {
    case 0..<UInt64(EXO_VECTOR_COUNT * EXO_NUCLEUS_STUB_SIZE):
      return .exception(ExceptionVector(UInt8(offset / UInt64(EXO_NUCLEUS_STUB_SIZE))))
    case UInt64(EXO_NUCLEUS_NO_ENTRY_STUB)..<UInt64(EXO_NUCLEUS_NO_ENTRY_STUB) + 4: return .systemCall
    case UInt64(EXO_NUCLEUS_PROBE_STUB)..<UInt64(EXO_NUCLEUS_PROBE_STUB) + 64: return .probe
    default: return nil
    }
  }
}
