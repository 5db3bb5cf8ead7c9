import ExoABI
import GuestRuntime
import LibOS

/// Children that run on their maker's virtual processor and time until they wait for something.
func visits() throws(ExocallError) {
  let quota = EnvironmentQuota(frames: 64, bindings: 8)
  func make(_ argument: UInt64 = 0, _ body: LibOS.Child.Body) throws(ExocallError) -> LibOS.Child {
    try LibOS.Child.make(quota, on: Environment.ownProcessor, argument: argument, body)
  }

  // The slice may end at any time, and what is entered goes on by itself then: until one has come back.
  func returning(
    _ argument: UInt64 = 0, _ body: LibOS.Child.Body
  ) throws(ExocallError) -> (child: LibOS.Child, connection: Connection, status: UInt8)? {
    for _ in 0..<50 {
      var child = try make(argument, body)
      let connection = try child.ready()
      if case .returned(let status) = child.visit(connection) { return (child, connection, status) }
      child.release()
      try connection.close()
    }
    return nil
  }

  guard var first = try returning(30, { argument in Int32(argument) + 1 }) else {
    return Promises.check(false, "a child that is entered goes back")
  }
  Promises.check(first.status == 31, "a child that is entered goes back with its status")
  Promises.check((try first.child.environment.inspect()).state == .created, "and was never started")
  first.child.release()
  Promises.check(first.connection.peer == .closed, "its end closes what it was entered by")
  try first.connection.close()

  var child: LibOS.Child
  var connection: Connection
  child = try make { _ in
    while !Events.hasPending { Wakeup.sleep() }
    return 5
  }
  connection = try child.ready()
  Promises.check(child.visit(connection) == .goesOn, "one that waits goes on by itself")
  Promises.check(connection.peer == .closed, "and cannot be entered any more")
  Promises.refused(.busy, "nor made ready") { () throws(ExocallError) in _ = try child.ready() }
  try wake(child)
  Promises.check(try child.wait() == .exited(status: 5), "it is waited for")
  try connection.close()

  child = try make { _ in exo_trap() }
  connection = try child.ready()
  let faulted = child.visit(connection)
  Promises.check(faulted == .lost || faulted == .goesOn, "one that faults within is lost")
  Promises.check(try child.wait() == .faulted(vector: 6, address: 0), "and has ended by that")
  try connection.close()

  // What it goes back with while its maker does not wait for it is nobody's.
  let leaves: LibOS.Child.Body = { _ in
    exo_return_to_maker(1)
    return 2
  }
  guard var early = try returning(0, leaves) else {
    return Promises.check(false, "one goes back from the middle")
  }
  Promises.check(early.status == 1, "one goes back from the middle")
  Promises.check(
    early.child.visit(early.connection) != .returned(status: 2),
    "and is entered there, but not to go back twice")
  Promises.check(try early.child.wait() == .exited(status: 2), "it exits")
  try early.connection.close()

  try nested()
  try refusedVisits()
}

/// A child enters a child of its own, which waits: then each goes on by itself.
private func nested() throws(ExocallError) {
  let quota = EnvironmentQuota(frames: 256, capabilities: 128, bindings: 16, environments: 1)
  for waits: UInt64 in 0..<2 {
    var child = try LibOS.Child.make(
      quota, on: Environment.ownProcessor, mayHaveChildren: true, argument: waits
    ) { waits in
      do throws(ExocallError) {
        var inner = try LibOS.Child.make(
          EnvironmentQuota(frames: 64, bindings: 8), on: Environment.ownProcessor, argument: waits
        ) { waits in
          while waits != 0, !Events.hasPending { Wakeup.sleep() }
          return 6
        }
        switch inner.visit(try inner.ready()) {
        case .returned(let status): return waits == 0 ? Int32(status) + 1 : 20
        case .goesOn:
          try wake(inner)
          let end = try inner.wait()
          return end == .exited(status: 6) ? 7 : 21
        case .lost: return 22
        }
      } catch { return 100 + error.number }
    }
    let connection = try child.ready()
    let visit = child.visit(connection)
    let end: EnvironmentEnd? =
      switch visit {
      case .returned(let status): .exited(status: status)
      case .goesOn: try child.wait()
      case .lost: nil
      }
    Promises.check(
      end == .exited(status: 7), "a child enters one of its own, which \(waits == 0 ? "goes back" : "waits")")
    child.release()
    try connection.close()
  }
}

private func wake(_ child: LibOS.Child) throws(ExocallError) {
  _ = try Exocall.make(RingRequest(EXO_CALL_event_post.rawValue, child.environment.capability.handle, 1))
}

private func refusedVisits() throws(ExocallError) {
  let quota = EnvironmentQuota(frames: 64, bindings: 8)
  var child = try LibOS.Child.make(quota, on: Environment.ownProcessor) { _ in 0 }
  let stack = Startup.page.pointee.stack_top
  Promises.refused(.badAddress, "an entry where nothing can be executed is refused") {
    () throws(ExocallError) in
    _ = try child.environment.ready(at: stack - 4096, stack: stack)
  }
  let connection = try child.ready()
  Promises.refused(.busy, "and another than before") { () throws(ExocallError) in
    _ = try child.environment.ready(at: exo_child_entry() + 1, stack: stack)
  }
  Promises.check(try child.ready().number == connection.number, "the same again is the same connection")
  try child.environment.end(status: 3)
  Promises.check(try child.wait() == .killed(status: 3), "one that is ready can be ended")
  Promises.check(child.visit(connection) == .lost, "and is not entered then")
  try connection.close()

  child = try LibOS.Child.make(quota, on: Environment.ownProcessor) { _ in 8 }
  let unused = try child.ready()
  try child.start()
  Promises.check(unused.peer == .closed, "one that is started is not entered any more")
  Promises.check(try child.wait() == .exited(status: 8), "and runs by itself")
  try unused.close()

  child = try LibOS.Child.make(EnvironmentQuota(frames: 64), on: Environment.ownProcessor) { _ in 0 }
  Promises.refused(.quotaExceeded, "an entry is a binding of the child's") { () throws(ExocallError) in
    _ = try child.ready()
  }
  try child.start()
  Promises.check(try child.wait() == .exited(status: 0), "without one it can be started")
}
