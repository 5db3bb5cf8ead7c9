import ExoABI
import Synchronization

/// Counters of one environment, for its report: those of its ring, written by whoever serves it, and those of whoever runs it.
final class EnvironmentStatistics: Sendable {
  struct Counts: Sendable {
    var exits: UInt64 = 0
    var guestNanoseconds: UInt64 = 0
    /// Times it got the processor, how long it had it, and how long of that beyond its slices.
    var turns: UInt64 = 0
    var turnNanoseconds: UInt64 = 0
    var excessNanoseconds: UInt64 = 0
    var faults: UInt64 = 0
    var framesPeak = 0
    var startup: [(step: String, nanoseconds: UInt64)] = []
  }
  private let counts = Mutex(Counts())
  let exocalls = ExocallCounters()

  func update(_ change: (inout Counts) -> Void) { counts.withLock { change(&$0) } }
  var snapshot: Counts { counts.withLock { $0 } }
}

extension Environment {
  /// What the ABI calls an exocall; its number if it has no such call.
  static func callName(_ number: UInt32) -> String {
    guard let row = unsafe exo_describe_call(number) else { return "\(number)" }
    // The table's rows are static.
    return unsafe String(cString: row.pointee.name)
  }

  /// What an environment has used so far, or had used when it ended.
  public struct Usage: Sendable {
    /// Time its processor spent in guest mode on its behalf, traps to the host's kernel included.
    public var timeInGuest: Duration
    /// Times it left guest mode to the exokernel.
    public var exits: UInt64
    /// Exocalls served, by name; those never made are absent.
    public var exocalls: [(name: String, count: UInt64)]
    /// Exocalls that were refused.
    public var refused: UInt64
    /// Most frames it held at once, tables and kit counted.
    public var framesPeak: Int
    /// Where the time went from the call of `launch` to the first entry into the guest.
    public var startup: [(step: String, time: Duration)]
    /// Why the first of its writes to the console failed that did; nil if none did.
    public var outputError: HostError?
  }

  public var usage: Usage {
    let counts = statistics.snapshot
    let writeError = console.withLock { $0.writeError }
    return Usage(
      timeInGuest: .nanoseconds(Int64(clamping: counts.guestNanoseconds)), exits: counts.exits,
      exocalls: statistics.exocalls.served.enumerated().compactMap { number, count in
        count > 0 ? (Self.callName(UInt32(number)), count) : nil
      },
      refused: statistics.exocalls.refused, framesPeak: counts.framesPeak,
      startup: counts.startup.map { ($0.step, .nanoseconds(Int64(clamping: $0.nanoseconds))) },
      outputError: writeError == 0 ? nil : HostError("standard output", -writeError))
  }
}
