import GuestRuntime
import LibOS

/// Two environments on one processor that give it to each other.
enum Yields {
  /// A message is left in a shared line; the receiver has the rest of the slice.
  static func sending(_ command: Command) -> Timing? {
    Duo.run(command, server: yieldBack) { _ in
      let peer = Duo.load(Duo.Word.peerOfClient)
      var turn: UInt64 = 0
      var timing = timed(Duo.load(Duo.Word.count)) {
        turn &+= 1
        Duo.store(Duo.Word.mail, turn)
        while Duo.load(Duo.Word.mail + 8) != turn { exo_yield(Startup.page.pointee.doorbell, peer) }
      }
      timing.operations *= 2
      return Duo.report(timing)
    }
  }

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

extension Yields {
  /// The clock's ticks for eight messages and their answers, each by itself.
  static func count(_ ticks: UnsafeMutablePointer<UInt32>) -> Bool {
    Transfers.counted(ticks, by: yieldBack) { _ in
      let peer = Duo.load(Duo.Word.peerOfClient)
      let line = Duo.Word.mail
      var turn: UInt64 = 0
      return readings {
        turn &+= 1
        Duo.store(line, turn)
        while Duo.load(line + 8) != turn { exo_yield(Startup.page.pointee.doorbell, peer) }
      }
    }
  }
}

private func yieldBack(_ argument: UInt64) -> Int32 {
  while true {
    exo_yield(Startup.page.pointee.doorbell, Duo.load(Duo.Word.peerOfServer))
    Duo.words[Duo.Word.mail + 8] = Duo.words[Duo.Word.mail]
  }
}
