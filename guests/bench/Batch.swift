import ExoABI
import GuestRuntime
import LibOS

/// Null calls, 32 submitted before the first answer is waited for. The count is of calls.
enum Batch {
  static func run(_ command: Command) -> Timing {
    let tickets = UnsafeMutablePointer<RingTicket?>.allocate(capacity: 32)
    tickets.initialize(repeating: nil, count: 32)
    defer { tickets.deallocate() }
    let request = RingRequest(EXO_CALL_null.rawValue)
    var timing = timed((command.count + 31) / 32) {
      for place in 0..<32 { tickets[place] = machineRing.submit(request) }
      machineRing.notify()
      for place in 0..<32 {
        if let ticket = tickets[place] { _ = machineRing.wait(ticket) }
      }
    }
    timing.operations *= 32
    return timing
  }
}
