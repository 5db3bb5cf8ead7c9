/// Makes the hardware forget translations after their page-table entries were cleared or lowered. How depends on the
/// substrate; that it has happened when the call returns does not.
struct Translations: Sendable {
  let memory: PhysicalMemory
  /// Nil where there is no virtual machine behind the memory (unit tests).
  let hardware: Hardware?

  /// Every translation to the frames goes, whoever holds it.
  func drop(_ runs: [FrameRuns.Run]) {
    guard !runs.isEmpty else { return }
    do { try memory.dropTranslations(runs) } catch {
      // The range is mapped from construction to the end of the machine, so madvise has nothing to refuse.
      preconditionFailure("taking a page away failed: \(error)")
    }
  }

  /// No translation to the frames lets through an access that their entries forbid now. Pages that lost no more than their
  /// write access may be dealt with more cheaply.
  func lower(_ pages: LoweredPages) {
    guard !pages.frames.isEmpty else { return }
    let runs = pages.frames.sorted
    if pages.onlyWrites, let hardware, hardware.substrate?.kind == .interpreted,
      hardware.mechanisms.dropWrites(runs, in: memory, vm: hardware.vm)
    {
      return
    }
    drop(runs)
  }

  /// KVM forgets every table it built for the machine: the slot is taken out and put back. No vCPU may be in guest mode,
  /// for there is no memory in between.
  func forgetTables() {
    guard let hardware else { return }
    do { try memory.replaceSlot(of: hardware.vm) } catch {
      preconditionFailure("putting the machine's memory back failed: \(error)")
    }
  }
}
