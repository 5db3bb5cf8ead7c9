import ExosIPC
import GuestRuntime
import LibOS

/// A message of eight bytes to a port of another environment on another processor, and its answer.
enum Ports {
  static func run(_ command: Command) -> Timing? {
    Duo.run(command, serverOn: 1, server: answerMessages, client: sendMessages)
  }
}

private func sendMessages(_ argument: UInt64) -> Int32 {
  while Duo.load(Duo.Word.gate) == 0 { exo_yield(Startup.page.pointee.doorbell, 0) }
  guard let right = try? SendRight(Capability(handle: Duo.load(Duo.Word.gate))) else { return 1 }
  let text = UnsafeMutableRawBufferPointer.allocate(byteCount: 8, alignment: 16)
  let count = Duo.load(Duo.Word.count)
  var begin: UInt64 = 0
  do throws(PortError) {
    for turn in 0..<count + 100 {
      if turn == 100 { begin = exo_ticks() }
      text.storeBytes(of: turn, as: UInt64.self)
      let answer = try right.call(id: 1, UnsafeRawBufferPointer(text))
      if answer.text.count != 8 || answer.text.load(as: UInt64.self) != turn + 1 { return 2 }
    }
  } catch { return 3 }
  let ticks = exo_ticks() &- begin
  right.close()
  return Duo.report(Timing(ticks, count))
}

private func answerMessages(_ argument: UInt64) -> Int32 {
  guard let port = try? Port() else { return 1 }
  let client = Environment(capability: Capability(handle: Duo.load(Duo.Word.peerOfServer)), number: 0)
  guard let right = try? port.right.grant(to: client, .call) else { return 2 }
  Duo.store(Duo.Word.gate, right.handle)
  let text = UnsafeMutableRawBufferPointer.allocate(byteCount: 8, alignment: 16)
  while true {
    guard let message = try? port.receive(), message.text.count == 8 else { return 3 }
    text.storeBytes(of: message.text.load(as: UInt64.self) &+ 1, as: UInt64.self)
    _ = try? message.reply(UnsafeRawBufferPointer(text))
  }
}
