import CKVM
import ExoABI

/// What is counted and told as an environment runs.
extension Environment {
  /// It has got the processor, for so many nanoseconds if others wait.
  func beginTurn(for length: UInt64) {
    turnBegan.store(ckvm_monotonic(), ordering: .relaxed)
    if trace.wants(.slice) { trace.record(.sliceBegan(length: length), of: id) }
  }
  /// It has given it up.
  func endTurn(_ end: TraceEvent.SliceEnd, excess: UInt64) {
    if trace.wants(.slice) { trace.record(.sliceEnded(end, excess: excess), of: id) }
    let began = turnBegan.exchange(0, ordering: .relaxed)
    let spent = ckvm_monotonic() &- began
    statistics.update {
      $0.turns += 1
      $0.turnNanoseconds += spent
      $0.excessNanoseconds += excess
    }
  }

  func traceStay(_ exit: VCPUExit, since began: UInt64) {
    trace.record(.guest(TraceEvent.GuestExit(exit)), of: id, since: began)
  }
  func noteFault(_ report: FaultReport) {
    statistics.update { $0.faults += 1 }
    if trace.wants(.fault) {
      trace.record(.fault(report.vector, address: report.address?.value ?? 0), of: id)
    }
  }
  func noteEnd(_ outcome: Outcome) {
    guard trace.wants(.environment) else { return }
    let status: UInt8 =
      switch outcome {
      case .exited(let status), .killed(let status): status
      default: 0
      }
    trace.record(.ended(TraceEvent.Ending(outcome), status: status), of: id)
  }

  /// Records a call that was served.
  @inline(never) func traceCall(_ call: UInt32, result: Int64?, since began: UInt64) {
    trace.record(.exocall(call, result: result), of: id, since: began)
  }
}

extension TraceEvent.GuestExit {
  init(_ exit: VCPUExit) {
    switch exit {
    case .interrupted: self = .interrupted
    case .mmio(let address, _, _, _) where address & ~0xfff == Kernel.doorbell.value:
      switch Int32(address & 0xfff) {
      case EXO_DOORBELL_SERVE: self = .serve
      case EXO_DOORBELL_WAIT: self = .wait
      case EXO_DOORBELL_YIELD: self = .yield
      case EXO_DOORBELL_EXIT: self = .exit
      default: self = .doorbell
      }
    case .io: self = .exception
    default: self = .other
    }
  }
}
