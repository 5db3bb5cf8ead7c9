import ExoABI
import GuestRuntime
import LibOS

/// Messages from the second processor that interrupt an environment which computes on the first: from just before the exocall
/// to the handler's first statement.
enum Injection {
  static func run(_ command: Command) -> Timing? {
    Duo.run(command, serverOn: 1, server: sendMessages) { _ in
      do throws(ExocallError) {
        let stack = try Exocall.frameAllocate(count: 4)
        let low: UInt64 = 0x6100_0000_0000
        try stack.owner.map(at: low, pages: stack.count, [.read, .write])
        try Events.bind([.message], stackTop: low + stack.count << 12) { event in
          Duo.words[Duo.Word.ticks] &+= exo_ticks() &- Duo.load(Duo.Word.free)
          Duo.words[Duo.Word.operations] &+= 1
          Duo.store(Duo.Word.free + 8, event.value)
        }
      } catch { return 1 }
      Duo.store(Duo.Word.gate, 1)
      let wanted = Duo.load(Duo.Word.count)
      while Duo.load(Duo.Word.operations) < wanted { exo_pause() }
      return 0
    }
  }
}

private func sendMessages(_ argument: UInt64) -> Int32 {
  while Duo.load(Duo.Word.gate) == 0 { exo_pause() }
  let receiver = Duo.load(Duo.Word.peerOfServer)
  var sent: UInt64 = 0
  while true {
    sent &+= 1
    Duo.store(Duo.Word.free, exo_ticks())
    try? Events.post(sent, to: receiver)
    while Duo.load(Duo.Word.free + 8) != sent { exo_pause() }
  }
}
