@testable import Exo

/// What a guest was allowed at an address, and since when and until when. Time is counted in epochs: the test raises the
/// epoch when a change is complete, and a guest reads it before each access. So what it saw must have been allowed at some
/// time from that epoch on; whatever ended with it or before is stale.
struct ModelHistory {
  /// What is mapped at a place: the token of the frame, and the rights.
  struct Binding: Hashable {
    var token: UInt64
    var rights: Rights
    static let none = Binding(token: 0, rights: [])
  }
  private struct Period {
    var binding: Binding
    /// The epoch whose beginning ended it.
    var end: UInt64 = .max
  }
  /// By address, oldest first.
  private var periods: [UInt64: [Period]] = [:]

  private func now(_ address: UInt64) -> Binding { periods[address]?.last?.binding ?? .none }

  /// Notes what is so from a change on that ends with the beginning of `epoch`. What was so before and after is no
  /// change.
  mutating func record(_ binding: Binding, at address: UInt64, epoch: UInt64) {
    let before = now(address)
    guard before != binding else { return }
    var list = periods[address] ?? [Period(binding: .none)]
    list[list.count - 1].end = epoch
    list.append(Period(binding: binding))
    // Guests tell in time: nothing comes that is older.
    if list.count > 64 { list.removeFirst(32) }
    periods[address] = list
  }

  /// Why an access cannot have come out so if it began in `epoch` or later; nil if it can.
  func whatIsWrong(with outcome: UInt64, kind: UInt64, at address: UInt64, since epoch: UInt64) -> String? {
    let possible = (periods[address] ?? [Period(binding: .none)]).filter { $0.end > epoch }.map(\.binding)
    let allowed = possible.contains { binding in
      switch kind {
      case 0: outcome == .max ? binding.rights.isEmpty : !binding.rights.isEmpty && binding.token == outcome
      case 1: outcome == .max ? !binding.rights.contains(.write) : binding.rights.contains(.write)
      default:
        outcome == .max
          ? !binding.rights.contains(.execute)
          : binding.rights.contains(.execute) && binding.token & 0xffff_ffff == outcome
      }
    }
    guard !allowed else { return nil }
    let what = ["read", "write", "execution"][Int(min(kind, 2))]
    let how = outcome == .max ? "faulted" : "gave \(hexadecimal(outcome))"
    return
      "\(what) at \(hexadecimal(address)) since epoch \(epoch) \(how); possible were "
      + possible.map { "\(hexadecimal($0.token)) \($0.rights)" }.joined(separator: ", ")
  }
}
