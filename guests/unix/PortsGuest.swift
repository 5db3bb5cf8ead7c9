import ExosIPC
import GuestRuntime
import LibOS

/// Ports in the manner of Mach, and the environment by which others find them.
func ports() {
  Promises.part("messages") { () throws(ExocallError) in
    try messages(apart: true)
    try messages(apart: false)
  }
  Promises.part("sets", sets)
  Promises.part("rights", rights)
  Promises.part("dead", dead)
  Promises.part("liars", liarPorts)
  Promises.part("names", names)
  Promises.finish()
}

/// The second of a company, as the first calls it, and the other way round.
private var second: Environment {
  Environment(capability: Capability(handle: Company[Company.Word.secondOfFirst]), number: 0)
}
private var first: Environment {
  Environment(capability: Capability(handle: Company[Company.Word.firstOfSecond]), number: 0)
}
/// The first offers a port to the second.
private func offer(_ port: Port, at word: Int = Company.Word.gate, _ rights: CapabilityRights = .call) -> Bool
{
  guard let right = try? port.right.grant(to: second, rights) else { return false }
  Company[word] = right.handle
  return true
}
private func offered(at word: Int = Company.Word.gate) -> Capability {
  while Company[word] == 0 { exo_yield(Startup.page.pointee.doorbell, 0) }
  return Capability(handle: Company[word])
}

private func messages(apart: Bool) throws(ExocallError) {
  var company = try Company.make(
    apart: apart,
    { _ in
      guard let port = try? Port(), offer(port) else { return 1 }
      var total = 0
      while total < 3000 {
        guard let message = try? port.receive(until: Clock.now + 10_000_000_000) else { return 2 }
        for byte in message.text where byte != UInt8(truncatingIfNeeded: message.id) { return 3 }
        if message.id % 3 == 0 {
          guard (try? message.reply(id: message.id, message.text)) != nil else { return 4 }
        }
        total += 1
      }
      return 0
    },
    { _ in
      guard let right = try? SendRight(offered()) else { return 1 }
      let text = UnsafeMutableRawBufferPointer.allocate(byteCount: 800, alignment: 16)
      for id in 0..<3000 as Range<UInt32> {
        let size = Int(id) * 31 % 800
        let part = UnsafeMutableRawBufferPointer(rebasing: text[..<size])
        part.initializeMemory(as: UInt8.self, repeating: UInt8(truncatingIfNeeded: id))
        guard (try? right.send(id: id, UnsafeRawBufferPointer(part))) != nil else { return 2 }
        if id % 3 == 0 {
          guard let answer = try? right.receiveReply(until: Clock.now + 10_000_000_000), answer.id == id,
            answer.text.count == size
          else { return 3 }
        }
      }
      while !right.isDead { pause(1_000_000) }
      return 0
    })
  try company.start()
  Promises.check(
    try company.first.watch.wait(),
    "3,000 messages of all sizes, a third answered, \(apart ? "apart" : "on one processor")")
  Promises.check(try company.second.watch.wait(), "and their sender sees the port die")
  company.finish()
}

/// Two ports, one receiver; non-blocking and with a time-out.
private func sets() throws(ExocallError) {
  var company = try Company.make(
    apart: true,
    { _ in
      guard let one = try? Port(), let two = try? Port() else { return 1 }
      var set = PortSet([one, two])
      guard failure({ () throws(PortError) in _ = try set.receive(until: 0) }) == .wouldBlock else {
        return 2
      }
      let end = Clock.now + 3_000_000
      guard failure({ () throws(PortError) in _ = try set.receive(until: end) }) == .timedOut,
        Clock.now >= end
      else {
        return 3
      }
      guard offer(one), offer(two, at: Company.Word.free) else { return 4 }
      var counts = (0, 0)
      while counts.0 + counts.1 < 200 {
        guard let message = try? set.receive(until: Clock.now + 10_000_000_000) else { return 5 }
        if message.port === one { counts.0 += 1 } else { counts.1 += 1 }
      }
      return counts == (100, 100) ? 0 : 6
    },
    { _ in
      guard let one = try? SendRight(offered()), let two = try? SendRight(offered(at: Company.Word.free))
      else {
        return 1
      }
      for turn in 0..<100 as Range<UInt32> {
        guard (try? one.send(id: turn)) != nil, (try? two.send(id: turn)) != nil else { return 2 }
      }
      while !one.isDead { pause(1_000_000) }
      return 0
    })
  try company.start()
  Promises.check(try company.first.watch.wait(), "a port set gives the messages of both ports")
  Promises.check(try company.second.watch.wait(), "and its sender sent all")
  company.finish()
}

/// The second sends a right to a port of its own, through which the first answers.
private func rights() throws(ExocallError) {
  var company = try Company.make(
    apart: true,
    { _ in
      guard let port = try? Port(), offer(port) else { return 1 }
      guard let message = try? port.receive(until: Clock.now + 10_000_000_000), message.rights.count == 1,
        (try? message.rights[0].inspect())?.kind == .gate
      else { return 2 }
      guard let back = try? SendRight(message.rights[0]) else { return 3 }
      guard (try? back.send(id: 77)) != nil else { return 4 }
      // Without the right to put anything into the second's table nothing can be sent there.
      guard
        failure({ () throws(PortError) in try back.send(id: 78, rights: [port.right]) })
          == .exocall(.notPermitted)
      else { return 5 }
      while !back.isDead { pause(1_000_000) }
      return 0
    },
    { _ in
      guard let right = try? SendRight(offered(), to: first), let own = try? Port() else { return 1 }
      guard (try? right.send(id: 1, rights: [own.right])) != nil else { return 2 }
      guard let answer = try? own.receive(until: Clock.now + 10_000_000_000), answer.id == 77 else {
        return 3
      }
      return 0
    })
  try company.start()
  Promises.check(try company.first.watch.wait(), "a right to send came in a message and serves")
  Promises.check(try company.second.watch.wait(), "and its port got what was sent")
  company.finish()
}

private func dead() throws(ExocallError) {
  var company = try Company.make(
    apart: true,
    { _ in
      guard let port = try? Port(), offer(port) else { return 1 }
      guard (try? port.receive(until: Clock.now + 10_000_000_000)) != nil else { return 2 }
      Company[Company.Word.free] = 1
      while true { Wakeup.sleep() }
    },
    { _ in
      guard let right = try? SendRight(offered()) else { return 1 }
      right.onDeath = { Company[Company.Word.free + 1] = 7 }
      guard (try? right.send(id: 1)) != nil else { return 2 }
      let error = failure { () throws(PortError) in _ = try right.receiveReply() }
      guard error == .dead else { return 3 }
      guard failure({ () throws(PortError) in try right.send(id: 2) }) == .dead else { return 4 }
      return Company[Company.Word.free + 1] == 7 ? 0 : 5
    })
  try company.start()
  while Company[Company.Word.free] != 1 { pause(1_000_000) }
  pause(10_000_000)
  try company.first.environment.end(status: 9)
  Promises.check(
    try company.second.watch.wait(), "who waits for an answer from a port that dies is told, and notified")
  company.finish()
}

/// A sender that scribbles over the page, and an honest one beside it on another port.
private func liarPorts() throws(ExocallError) {
  var company = try Company.make(
    apart: true,
    { _ in
      guard let port = try? Port(), offer(port) else { return 1 }
      port.onSenderGone = { Company[Company.Word.free + 1] = 1 }
      var got = 0
      while Company[Company.Word.free + 1] == 0 {
        guard let message = try? port.receive(until: Clock.now + 100_000_000) else { continue }
        // Whatever it says, it fits.
        if message.text.count > PortFrame.longest || message.rights.count > PortFrame.mostRights { return 2 }
        got += 1
      }
      return port.senders == 0 ? 0 : 3
    },
    { _ in
      guard let right = try? SendRight(offered()) else { return 1 }
      guard (try? right.send(id: 1)) != nil else { return 2 }
      var random: UInt64 = 88_172_645_463_325_252
      let page = UInt64(UInt(bitPattern: Connection(accepted: 0).page))
      while Company[Company.Word.free + 1] == 0 {
        random ^= random << 13
        random ^= random >> 7
        random ^= random << 17
        exo_store64(page + random % 512 * 8, random & 1 == 0 ? random >> 32 : random % 3000)
      }
      return 0
    })
  try company.start()
  Promises.check(try company.first.watch.wait(), "a sender that lies is let go of")
  company.finish()
}

/// A service, two clients and a third that was not introduced.
private func names() throws(ExocallError) {
  let quota = EnvironmentQuota(frames: 160, capabilities: 96, bindings: 24)
  let number = UInt64(Startup.page.pointee.environment)
  let frame = try Exocall.frameAllocate(count: 1).owner
  try frame.map(at: Company.address, pages: 1, [.read, .write])
  var service = try Child.make(quota, on: 0, argument: number) { NameService.serve(maker: UInt32($0)) }
  var server = try Child.make(quota, on: 0) { _ in
    do throws(ExocallError) {
      let service = Environment(capability: Capability(handle: Company[16]), number: 0)
      let names = try Names(service, until: Clock.now + 10_000_000_000)
      let port = try Port()
      try names.register("adder", port)
      Company[20] = 1
      while Company[21] == 0 {
        guard let message = try? port.receive(until: Clock.now + 50_000_000) else { continue }
        var sum: UInt64 = 0
        for byte in message.text { sum += UInt64(byte) }
        _ = withUnsafeBytes(of: sum) { bytes in try? message.reply(bytes) }
      }
      return 0
    } catch { return 100 + error.number }
  }
  var client = try Child.make(quota, on: 0) { _ in
    do throws(ExocallError) {
      let service = Environment(capability: Capability(handle: Company[17]), number: 0)
      let names = try Names(service, until: Clock.now + 10_000_000_000)
      while Company[20] == 0 { pause(1_000_000) }
      do throws(ExocallError) {
        _ = try names.lookUp("subtracter")
        return 2
      } catch { if error != .noEntry { return 3 } }
      // Another's name is neither taken over nor removed.
      let own = try Port()
      do throws(ExocallError) {
        try names.register("adder", own)
        return 4
      } catch { if error != .exists { return 5 } }
      do throws(ExocallError) {
        try names.remove("adder")
        return 6
      } catch { if error != .notPermitted { return 7 } }
      let adder = try SendRight(try names.lookUp("adder"))
      let bytes: [UInt8] = [1, 2, 39]
      let sum = bytes.withUnsafeBytes { bytes in
        (try? adder.call(id: 0, bytes, until: Clock.now + 10_000_000_000))?.text.load(as: UInt64.self)
      }
      Company[21] = 1
      // Its maker gone, the name goes too.
      while !adder.isDead { pause(1_000_000) }
      let limit = Clock.now + 10_000_000_000
      while Clock.now < limit {
        do throws(ExocallError) { _ = try names.lookUp("adder") } catch {
          return error == .noEntry && sum == 42 ? 0 : 8
        }
        pause(1_000_000)
      }
      return 9
    } catch { return 100 + error.number }
  }
  for child in [service, server, client] {
    try child.environment.map(frame, at: Company.address, pages: 1, [.read, .write])
  }
  Company[16] = try service.environment.capability.grant(to: server.environment, .deliver).handle
  Company[17] = try service.environment.capability.grant(to: client.environment, .deliver).handle
  try service.start()
  try server.start()
  try client.start()
  try NameService.introduce(server.environment, to: service.environment)
  try NameService.introduce(client.environment, to: service.environment)
  Promises.check(try server.watch.wait(), "a server registered its port under a name")
  server.release()
  Promises.check(
    try client.watch.wait(), "a client found it, used it, could not take its name, and saw it go")
  client.release()
  service.release()
  try Exocall.unmap(Company.address, pages: 1)
  try frame.drop()
}
