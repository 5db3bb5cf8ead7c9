import ExoABI
import GuestRuntime
import HostileSupport
import LibOS

/// What an environment leaves with, its peer comes in by: stacks and flags that would hurt whoever had to go by them.
extension Attack {
  static var oddLeaves: Attack {
    Attack("odd-leaves", "Leaves with stacks and flags that whoever calls next comes in by.") {
      for index in 0..<Leave.all.count {
        var pair = mounted(argument: UInt64(index), server: oddServer, client: trustfulClient)
        // It is answered, or the environment that left so has ended of it.
        guard let end = try? pair.client.watch.wait() else { unable("an end is lost") }
        switch end {
        case .exited(status: 0) where !Leave.all[index].isTrapped: break
        case .exited(status: 1):
          guard let end = try? pair.server.watch.wait() else { unable("an end is lost") }
          guard case .faulted = end else { succeeded("the server of leave \(index): \(end)") }
        default: succeeded("the client of leave \(index): \(end)")
        }
        pair.discard()
      }
    }
  }
}

private struct Leave {
  var rsp: UInt64 = 0x10_0000
  var flags: UInt64 = 0x202
  var isTrapped: Bool { flags & 0x100 != 0 }
  static let all = [
    Leave(), Leave(rsp: 0), Leave(rsp: .max), Leave(rsp: 0x8000_0000_0000),
    Leave(rsp: exo_nucleus_idt + 0x800),
    Leave(rsp: exo_nucleus_transfer + 0x100), Leave(rsp: exo_kit_trap + 0x10), Leave(flags: 0x602),
    Leave(flags: 0x24_4602), Leave(flags: 0x4_0202), Leave(flags: 0x302),
  ]
}
private enum Word {
  static var isReady: Int { 20 }
}

private func oddServer(_ argument: UInt64) -> Int32 {
  guard let gate = try? Gate.create(), exocall(EXO_CALL_transfer_bind, hostile_left_address()) == 0,
    (try? Pair.offer(gate)) != nil, let connection = accepted()
  else { return 1 }
  let leave = Leave.all[Int(argument)]
  let nobody = UInt64((EXO_CONNECTIONS - 2) * EXO_TRANSFER_SLOT_SIZE)
  if leave.isTrapped {
    // To a client that waits for nothing and sends it home: else the trap would be for itself.
    hostile_leave_stepping(0, leave.flags, UInt64(connection.number) * UInt64(EXO_TRANSFER_SLOT_SIZE))
  } else {
    hostile_leave(leave.rsp, leave.flags, nobody)
  }
  Pair.words[Word.isReady] = 1
  while true { exo_yield(Startup.page.pointee.doorbell, 0) }
}

/// 0: answered. 1: the server has ended.
private func trustfulClient(_ argument: UInt64) -> Int32 {
  guard let connection = try? Pair.connect() else { return 3 }
  // A server that ends as it leaves never says so.
  while Pair.words[Word.isReady] == 0, connection.peer != .closed {
    exo_yield(Startup.page.pointee.doorbell, 0)
  }
  var message = Message()
  message.words.0 = argument
  var failure: ExocallError?
  do throws(ExocallError) { try connection.callOnce(&message) } catch { failure = error }
  // Whatever the peer's flags are, they are not the caller's.
  if hostile_flags() & 0x24_4500 != 0 { return 2 }
  switch failure {
  case nil: return message.words.0 == argument ? 0 : 4
  case .closedPipe, .noEntry: return 1
  default: return 5
  }
}
