import ExosIPC
import GuestRuntime
import LibOS

/// Calls by lines of a connection's page to an environment on the other processor. Either end sleeps if it has to wait long.
enum LineCalls {
  static func run(_ command: Command) -> Timing? {
    Duo.run(command, serverOn: 1, server: serveLines, client: callLines)
  }

  static func oneWay(_ command: Command) -> Timing? {
    guard var timing = run(command) else { return nil }
    timing.operations *= 2
    return timing
  }
}

private func serveLines(_ argument: UInt64) -> Int32 {
  guard let connection = try? accepted() else { return 1 }
  var server = LineServer(connection)
  return (try? server.serve { message in message.words.0 &+= 1 }) != nil ? 0 : 2
}

private func callLines(_ argument: UInt64) -> Int32 {
  guard let connection = try? Duo.connect(), !connection.isLocal else { return 1 }
  var caller = LineCaller(connection)
  var message = Message()
  let count = Duo.load(Duo.Word.count)
  var begin: UInt64 = 0
  do throws(ExocallError) {
    for turn in 0..<count + 100 {
      if turn == 100 { begin = exo_ticks() }
      try caller.call(&message)
    }
  } catch { return 2 }
  let ticks = exo_ticks() &- begin
  caller.close()
  return message.words.0 == count + 100 ? Duo.report(Timing(ticks, count)) : 3
}
