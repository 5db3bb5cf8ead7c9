import CKVM
import ExoABI

/// What kind of virtual machine this KVM gives, by measurement. A model name would not tell: the same processor runs
/// under both kinds.
public struct Substrate: Hashable, Sendable {
  public enum Kind: String, Hashable, Sendable {
    /// Ring 0 of the guest is carried out instruction by instruction by the host (PVM).
    case interpreted
    /// Ring 0 of the guest runs on the processor (VT-x, AMD-V).
    case native
  }
  public let kind: Kind
  /// What one ring-0 instruction takes, in cycles of the time-stamp counter.
  public let ring0Cycles: Double
  /// The same in nanoseconds; nil where KVM does not tell the counter's frequency.
  public let ring0Nanoseconds: Double?

  /// What the exokernel does on this kind of machine.
  var mechanisms: any SubstrateMechanisms { kind == .native ? NativeRing0() : InterpretedRing0() }

  /// An instruction that takes this many cycles is not run by a processor.
  static let interpretedThreshold = 100.0

  /// Runs the nucleus's probe stub: 32 instructions between two readings of the clock. Once more if ring 0 seems to be
  /// interpreted: the host may have had something else to do in between.
  static func measure(
    _ vcpu: borrowing VCPU, root: PhysicalAddress, control: ControlState
  ) throws(HostError) -> Substrate {
    let first = try probe(vcpu, root: root, control: control)
    if first.kind == .native { return first }
    let second = try probe(vcpu, root: root, control: control)
    return second.ring0Cycles < first.ring0Cycles ? second : first
  }

  private static func probe(
    _ vcpu: borrowing VCPU, root: PhysicalAddress, control: ControlState
  ) throws(HostError) -> Substrate {
    vcpu.reset(
      root: root,
      at: EntryPoint(
        entry: GuestAddress(exo_nucleus_text + UInt64(EXO_NUCLEUS_PROBE_STUB)),
        stack: GuestAddress(exo_kit_trap + UInt64(EXO_TRAP_NUCLEUS_TOP))),
      control: control, ring: 0)
    while true {
      switch try vcpu.enter() {
      case .interrupted: continue
      case .io(port: UInt16(EXO_NUCLEUS_PORT)):
        let registers = vcpu.registers
        let elapsed = UInt32(truncatingIfNeeded: registers.rax) &- UInt32(truncatingIfNeeded: registers.rsi)
        let cycles = Double(elapsed) / 32
        return Substrate(
          kind: cycles > interpretedThreshold ? .interpreted : .native, ring0Cycles: cycles,
          ring0Nanoseconds: vcpu.readTSCFrequency().map { cycles * 1e6 / Double($0) })
      default: throw HostError("the substrate probe did not come back", -5)
      }
    }
  }
}
