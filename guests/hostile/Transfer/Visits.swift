import ExoABI
import GuestRuntime
import HostileSupport
import LibOS

/// Attacks by and on environments that run on their maker's virtual processor.
extension Attack {
  static var visits: Attack {
    Attack(
      "visits",
      "Readies what is not its own, changes children as they are entered, and enters ones that never return."
    ) {
      expect(exocall(EXO_CALL_transfer_bind, exo_transfer_entry_address()) == 0, "binding is refused")
      let stack = Startup.page.pointee.stack_top
      let frames = exocall(EXO_CALL_frame_allocate, UInt64(EXO_FRAME_ANY), 1)
      for handle: UInt64 in [0, 1, .max, 1 << 40, UInt64(bitPattern: frames)] {
        expectRefused(
          exocall(EXO_CALL_environment_ready, handle, exo_child_entry(), stack), EXO_EBADF, EXO_ESTALE,
          for: "readying \(handle)")
      }
      someoneElses()
      neverReturns()
      for round in 0..<24 as Range<UInt64> { changedMeanwhile(round) }
      stainedByTheLast()
    }
  }
}

private func made(_ argument: UInt64 = 0, _ body: LibOS.Child.Body) -> LibOS.Child {
  do throws(ExocallError) {
    return try LibOS.Child.make(
      EnvironmentQuota(frames: 96, capabilities: 64, bindings: 8), on: Environment.ownProcessor,
      argument: argument, body)
  } catch { unable("a child: \(error)") }
}
private func ready(_ child: LibOS.Child) -> Connection {
  guard let connection = try? child.ready() else { unable("a child is not made ready") }
  return connection
}

/// Whoever was given every right to an environment has not made it.
private func someoneElses() {
  var victim = made { _ in 0 }
  var thief = made { _ in
    for capability in Capability.own {
      guard let names = try? capability.inspect(), names.kind == .environment else { continue }
      do throws(ExocallError) {
        _ = try Environment(capability: capability, number: 0).ready(
          at: exo_child_entry(), stack: Startup.page.pointee.stack_top)
        return 1
      } catch { return error == .notPermitted ? 0 : 2 }
    }
    return 3
  }
  guard
    (try? victim.environment.capability.grant(to: thief.environment, [.control, .inspect, .deliver])) != nil,
    (try? thief.start()) != nil
  else { unable("a thief") }
  expectEnd(&thief, 0, "who readies another's child")
  thief.release()
  victim.release()
}

private func neverReturns() {
  var child = made { _ in while true { exo_pause() } }
  let connection = ready(child)
  expect(child.visit(connection) == .goesOn, "one that never returns keeps its maker")
  expect(connection.peer == .closed, "it can be entered still")
  expect((try? child.environment.end(status: 9)) != nil, "ending it is refused")
  guard let end = try? child.watch.wait() else { unable("an end is lost") }
  expect(end == .killed(status: 9), "it \(end)")
  child.release()
  try? connection.close()
}

/// What is asked for is carried out while the child is being entered, is in its first instructions or has just gone back. It may end
/// of it, and nobody else.
private func changedMeanwhile(_ round: UInt64) {
  var child = made { _ in 7 }
  let connection = ready(child)
  if round % 4 == 3 { _ = child.visit(connection) }
  let handle = child.environment.capability.handle
  let request =
    switch round % 3 {
    case 0:
      RingRequest(
        EXO_CALL_environment_ready.rawValue, handle, exo_child_entry(), Startup.page.pointee.stack_top - 72)
    case 1: RingRequest(EXO_CALL_environment_end.rawValue, handle, 5)
    default: RingRequest(EXO_CALL_gate_disconnect.rawValue, UInt64(connection.number))
    }
  guard let ticket = machineRing.submit(request) else { unable("the ring is full") }
  machineRing.notify()
  let pause = exo_ticks() &+ round * 700
  while exo_ticks() < pause {}
  _ = child.visit(connection)
  _ = machineRing.wait(ticket)
  child.release()
  try? connection.close()
}

/// One goes back with its kit as bad as it can be, and what would be an exocall of whoever comes next in its ring.
private func stainedByTheLast() {
  var child = made { _ in
    let start = Startup.page.pointee
    for page in [start.control & ~0xfff, start.submission_ring] {
      for offset in stride(from: 0, to: 4096, by: 8) as StrideTo<UInt64> {
        // Not the submission that is expected of this one: that would be its own.
        if page == start.submission_ring, offset < 64 { continue }
        exo_store64(page + offset, 0xffff_ffff_0000_0000 | UInt64(EXO_CALL_exit.rawValue))
      }
    }
    return 4
  }
  let connection = ready(child)
  let visit = child.visit(connection)
  if visit == .goesOn {
    // The slice was over.
    expectEnd(&child, 4, "who stains its kit")
    child.release()
    try? connection.close()
    return
  }
  expect(visit == .returned(status: 4), "it does not go back")
  // Its data are zero now, so it comes to nothing; yet by its own fault, and not by an exocall that it never made.
  expect((try? child.ready()) != nil, "it is not made ready again")
  let second = child.visit(connection)
  expect(second == .lost || second == .goesOn, "it goes back without data")
  guard let end = try? child.watch.wait() else { unable("an end is lost") }
  guard case .faulted = end else { succeeded("it \(end)") }
  child.release()
  try? connection.close()
}
