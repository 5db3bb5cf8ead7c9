/// What a trace tells of control transfer. The nucleus and shared lines tell nobody: what is seen is where a virtual processor is when
/// it leaves guest mode.
extension ProcessorLoop {
  /// Records that an environment's own vCPU is elsewhere than at the exit before.
  @inline(never) func traceVisit(of environment: Environment, _ box: VCPUBox) {
    let host = box.root == environment.root.value ? nil : residents[box.root]?.id
    guard host != box.tracedHost else { return }
    if let left = box.tracedHost { environment.trace.record(.answered(by: left), of: environment.id) }
    if let host { environment.trace.record(.called(host), of: environment.id) }
    box.tracedHost = host
  }

  /// Records that a call came to nothing.
  @inline(never) func traceCallEnd(of environment: Environment, _ box: VCPUBox, _ end: TraceEvent.CallEnd) {
    environment.trace.record(.callEnded(end), of: environment.id)
    box.tracedHost = nil
  }
}
