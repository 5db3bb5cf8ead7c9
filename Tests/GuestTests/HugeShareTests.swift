import CKVM
import ExoABI
import TestSupport
import Testing

@testable import Exo

/// KVM has one table for all huge pages of the same frames, so an entry that no longer gives them must not lead to it: it
/// would show what whoever maps them next, or still, has there.
@Suite(.serialized) struct HugeShareTests {
  private static let place = GuestAddress(ModelGuest.huge[0])
  private static let first = Frame(512)

  /// Two guests that look at `place` all the time, and the frames of a huge page in the hands of the first.
  private final class Pair {
    let machine: Machine
    let guests: [ModelGuest]
    let memory: CapabilityHandle

    init() throws {
      var configuration = Machine.Configuration()
      configuration.memory = 32 << 20
      configuration.processors = 2
      machine = try Machine(configuration)
      var random = ModelRandomness(seed: 1)
      var guests: [ModelGuest] = []
      for index in 0..<2 {
        guests.append(try ModelGuest(index, life: index, in: machine, random: &random, epoch: 1))
      }
      self.guests = guests
      let (owner, stamp) = (guests[0].id, machine.memory)
      memory = try machine.withKernel { (kernel) throws(Refusal) in
        try kernel.allocateFrames(HugeShareTests.first, count: 512, for: owner).capability
      }
      stamp.store(0x77, HugeShareTests.first.address)
    }

    func map(_ handle: CapabilityHandle, of guest: Int) throws {
      let id = guests[guest].id
      try machine.withKernel { (kernel) throws(Refusal) in
        try kernel.map(
          handle, offset: 0, at: HugeShareTests.place, pages: 512, rights: [.read, .write], huge: true, in: id
        )
      }
    }
    func share() throws -> CapabilityHandle {
      let (owner, receiver, memory) = (guests[0].id, guests[1].id, memory)
      return try machine.withKernel { (kernel) throws(CapabilityError) in
        try kernel.capabilities.grant(memory, from: owner, to: receiver, rights: [.read, .write])
      }
    }

    /// Until a guest has looked at all its places twice more. Returns what both say meanwhile that a guest with nothing
    /// mapped cannot have seen.
    @discardableResult
    func look(_ guest: Int) throws -> [String] {
      let before = guests[guest].passes(in: machine.memory)
      let limit = ckvm_monotonic() + 20_000_000_000
      var seen: [String] = []
      while guests[guest].passes(in: machine.memory) < before + 3 {
        for other in guests { seen += other.drain(machine.memory).wrong }
        try #require(ckvm_monotonic() < limit, "the guest stands still")
      }
      return seen
    }

    /// What the first guest sees at `place` from now on, once the other has used the frames.
    func seenByTheFirst() throws -> [String] {
      for guest in guests { guest.setEpoch(2, in: machine.memory) }
      let seen = try look(1) + look(0)
      let places = [0, 100, 511].map { hexadecimal(HugeShareTests.place.value + $0 << 12) }
      return seen.filter { text in
        text.hasPrefix("guest 0,") && places.contains { text.contains(" at \($0) since epoch 2 ") }
      }
    }
  }

  @Test(.requires(.kvm)) func theNextOwnerIsNotSeen() throws {
    let pair = try Pair()
    defer { pair.machine.stop() }
    try pair.map(pair.memory, of: 0)
    try pair.look(0)
    let (old, new) = (pair.guests[0].id, pair.guests[1].id)
    let handle = try pair.machine.withKernel { (kernel) throws(Refusal) in
      try kernel.drop(pair.memory, in: old)
      return try kernel.allocateFrames(Self.first, count: 512, for: new).capability
    }
    try pair.map(handle, of: 1)
    #expect(try pair.seenByTheFirst() == [])
  }

  @Test(.requires(.kvm)) func whoStillMapsItIsNotSeenByWhoDoesNot() throws {
    let pair = try Pair()
    defer { pair.machine.stop() }
    try pair.map(pair.memory, of: 0)
    try pair.map(try pair.share(), of: 1)
    for guest in [0, 1] { try pair.look(guest) }
    let id = pair.guests[0].id
    try pair.machine.withKernel { (kernel) throws(Refusal) in
      try kernel.unmap(Self.place, pages: 512, in: id)
    }
    #expect(try pair.seenByTheFirst() == [])
  }

  @Test(.requires(.kvm)) func whoStillWritesDoesNotLetTheOtherWrite() throws {
    let pair = try Pair()
    defer { pair.machine.stop() }
    try pair.map(pair.memory, of: 0)
    try pair.map(try pair.share(), of: 1)
    for guest in [0, 1] { try pair.look(guest) }
    let (id, latch) = (pair.guests[0].id, pair.guests[0].environment.latch)
    // The other writes first: a write of the first would itself have KVM look at the entry that was lowered.
    latch.beginHold()
    defer { latch.endHold() }
    try pair.machine.withKernel { (kernel) throws(Refusal) in
      try kernel.protect(Self.place, pages: 512, rights: .read, in: id)
    }
    try pair.look(1)
    latch.endHold()
    defer { latch.beginHold() }
    #expect(try pair.seenByTheFirst().filter { $0.contains("write at") } == [])
  }
}
