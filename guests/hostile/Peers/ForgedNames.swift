import ExoABI
import ExosIPC
import GuestRuntime
import LibOS

extension Attack {
  /// A message carries handles in its receiver's table. Who names what he did not put there has the receiver give it to him, or
  /// take it from its owner.
  static var forgedNames: Attack {
    Attack(
      "forged-names", "Registers the name service's own capabilities, and another's, under names of its own."
    ) {
      do throws(ExocallError) { try mount() } catch { unable("a name service: \(error)") }
    }
  }

  private static func mount() throws(ExocallError) {
    let quota = EnvironmentQuota(frames: 128, capabilities: 96, bindings: 24)
    let page = try SharedPage.make()
    let maker = UInt64(Startup.page.pointee.environment)
    var service = try LibOS.Child.make(quota, on: 0, argument: maker, serveNames)
    var victim = try LibOS.Child.make(quota, on: 0, register)
    var forger = try LibOS.Child.make(quota, on: 0, forge)
    for child in [victim, forger] { try page.give(to: child, [.read, .write]) }
    let words = [(Word.serviceOfVictim, victim), (Word.serviceOfForger, forger)]
    for (word, child) in words {
      page.words[word] = try service.environment.capability.grant(to: child.environment, .deliver).handle
    }
    try service.start()
    try victim.start()
    try NameService.introduce(victim.environment, to: service.environment)
    expect(eventually { page.words[Word.isRegistered] == 1 }, "nothing was registered")
    try forger.start()
    try NameService.introduce(forger.environment, to: service.environment)
    expectEnd(&forger, 0, "the forger")
    page.words[Word.isOver] = 1
    expectEnd(&victim, 0, "whose name it was")
    for child in [forger, victim, service] {
      var child = child
      child.release()
    }
    try page.release()
  }
}

private enum Word {
  static let serviceOfVictim = 16, serviceOfForger = 17, isRegistered = 20, isOver = 21
}

// --- in the children

private func serveNames(_ maker: UInt64) -> Int32 { NameService.serve(maker: UInt32(maker)) }

private func names(_ word: Int) throws(ExocallError) -> Names {
  try Names(
    Environment(capability: Capability(handle: Pair.words[word]), number: 0),
    until: Clock.now + 10_000_000_000)
}

private func register(_ argument: UInt64) -> Int32 {
  do throws(ExocallError) {
    let names = try names(Word.serviceOfVictim)
    let port = try Port()
    try names.register("mine", port)
    Pair.words[Word.isRegistered] = 1
    while Pair.words[Word.isOver] == 0 { Wakeup.pause(1_000_000) }
    // The forger has gone, and what was registered with it.
    Wakeup.pause(100_000_000)
    _ = try names.lookUp("mine")
    return 0
  } catch { return 100 + error.number }
}

private func forge(_ argument: UInt64) -> Int32 {
  // As `Names` is introduced; what it sends then is its own.
  var right: UInt64 = 0
  let limit = Clock.now + 10_000_000_000
  while right == 0, Clock.now < limit {
    guard let event = Events.poll() else {
      Wakeup.sleep(until: limit)
      continue
    }
    if event.kind == Events.Kind.message.rawValue, event.value >> 48 == 0x6e61 {
      right = event.value & 0x0000_ffff_ffff_ffff
    }
  }
  guard let connection = try? Connection.open(Capability(handle: right)) else { return 1 }
  var writer = PipeWriter(.on(connection, fromCaller: true), to: PipePeer(connection))
  var reader = PipeReader(.on(connection, fromCaller: false), from: PipePeer(connection))
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 256, alignment: 16)
  for generation in 1...3 as ClosedRange<UInt64> {
    for index in 0..<48 as Range<UInt64> {
      // register, one byte of text, one right.
      bytes.storeBytes(of: 1 | 1 << 16 | 1 << 32, as: UInt64.self)
      bytes.storeBytes(of: generation << 32 | index, toByteOffset: 8, as: UInt64.self)
      bytes[16] = 0x66
      guard (try? writer.write(UnsafeRawBufferPointer(rebasing: bytes[..<17]))) == 17,
        let count = try? reader.read(into: bytes, until: Clock.now + 2_000_000_000), count >= 8
      else { return 2 }
      // What it says of how it went stands where a message says what it is about.
      if bytes.load(as: UInt64.self) >> 32 == 0 { return 3 }
    }
  }
  return 0
}
