import CKVM
import ExoABI

extension Environment {
  /// Starts an environment that `Machine.prepare` made, at its image's entry.
  ///
  /// - Parameters:
  ///   - arguments: the first is by custom the guest's name.
  ///   - variables: `NAME=value` each.
  public func start(arguments: [String], variables: [String] = []) throws(LaunchError) {
    guard let image, scheduling.withLock({ $0.state == .created }) else { throw .notStartable }
    try machine.withKernel { (kernel) throws(LaunchError) in
      try kernel.addArguments(arguments, variables, to: id)
    }
    beginTimeLimit()
    machine.service.add(self)
    let entryPoint = EntryPoint(entry: image.entry, stack: GuestAddress(exo_stack_top))
    if trace.wants(.environment) { trace.record(.started, of: id) }
    // A time limit that is over by now has ended it already: that is its outcome, and no error of the start.
    let begins = processor.begin(self, at: entryPoint)
    // While its processor is on the way into guest mode, what it needs first.
    let needed = machine.withKernel { kernel in
      kernel.space(of: id).map { space in
        [image.entry, GuestAddress(exo_stack_top - 8)].compactMap {
          kernel.frame(at: space.entry(of: $0, in: kernel.memory).address)
        }
      }
    }
    for frame in needed ?? [] { machine.memory.touch(frame) }
    machine.service.notify()
    guard begins || deadline <= ckvm_monotonic() else { throw .notStartable }
    machine.configuration.logger.debug("launched \(name) as \(id) on processor \(processor.number)")
  }

  /// Calls `body`, once, when the environment has ended, on one of the machine's threads, which it must not keep; at
  /// once if it has ended before.
  public func onEnd(_ body: @escaping @Sendable (Outcome) -> Void) {
    if let outcome = whenEnded(body) { body(outcome) }
  }
}
