import ExoABI
import ExosIPC
import GuestRuntime
import LibOS

extension Attack {
  /// Rights to send that nobody gave.
  static var forgedRights: Attack {
    Attack(
      "forged-rights",
      "Sends to a port by made-up rights, by one taken back, and by rights for something else."
    ) {
      var pair = mounted(server: unknownServer, client: forgingClient)
      expectEnd(&pair.client, 0, "the forger")
      expectEnd(&pair.server, 0, "the port")
      pair.discard()
    }
  }
}

private enum Word { static let isOver = 20, known = 21, takenBack = 22, toHandOn = 23, good = 24 }

// --- in the children

private func unknownServer(_ argument: UInt64) -> Int32 {
  guard let port = try? Port(), let second = try? Port() else { return 1 }
  let client = Environment(capability: Capability(handle: Pair.words[Pair.Word.clientOfServer]), number: 0)
  // One that is taken back; one to another port in its place in the client's table; one that may be handed on and not used.
  guard let takenBack = try? port.right.grant(to: client, .call), (try? port.right.revoke()) != nil,
    let good = try? second.right.grant(to: client, .call),
    let toHandOn = try? port.right.grant(to: client, .grant)
  else { return 1 }
  Pair.words[Word.takenBack] = takenBack.handle
  Pair.words[Word.toHandOn] = toHandOn.handle
  Pair.words[Word.good] = good.handle
  // Its handle is told; the right is not given.
  Pair.words[Word.known] = port.right.handle
  var set = PortSet([port, second])
  while Pair.words[Word.isOver] == 0 {
    if (try? set.receive(until: Clock.now + 10_000_000)) != nil { return 2 }
  }
  return port.senders == 0 ? 0 : 3
}

private func forgingClient(_ argument: UInt64) -> Int32 {
  guard eventually({ Pair.words[Word.known] != 0 }) else { return 1 }
  let (known, good) = (Pair.words[Word.known], Pair.words[Word.good])
  var tries = [known, 0, 1, .max, known ^ 1, known &+ 1 << 32, known ^ 1 << 63]
  for number in 0..<64 as Range<UInt64> { tries.append(known & ~63 | number) }
  tries += [Pair.words[Word.takenBack], Pair.words[Word.toHandOn], good &+ 1 << 32, good ^ 1 << 63]
  // Rights of its own that are for something else.
  for own in Capability.own { tries.append(own.handle) }
  for handle in tries where handle != good {
    if let right = try? SendRight(Capability(handle: handle)) {
      Pair.words[Word.isOver] = 1
      return (try? right.send(id: 1)) == nil ? 3 : 2
    }
  }
  Pair.words[Word.isOver] = 1
  // What was given holds.
  return (try? SendRight(Capability(handle: good))) == nil ? 4 : 0
}
