import GuestRuntime
import LibOS

/// Two environments on one processor that give it to each other.
enum Yields {
  static func only(_ command: Command) -> Timing? {
    Duo.run(command, server: yieldBack) { _ in
      let peer = Duo.load(Duo.Word.peerOfClient)
      exo_yield(Startup.page.pointee.doorbell, peer)
      var timing = timed(Duo.load(Duo.Word.count)) { exo_yield(Startup.page.pointee.doorbell, peer) }
      timing.operations *= 2
      return Duo.report(timing)
    }
  }
}

private func yieldBack(_ argument: UInt64) -> Int32 {
  while true { exo_yield(Startup.page.pointee.doorbell, Duo.load(Duo.Word.peerOfServer)) }
}
