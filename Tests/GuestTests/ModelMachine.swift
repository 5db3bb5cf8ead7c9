import CKVM
import ExoABI
import TestSupport

@testable import Exo

/// Guests on both processors that use their pages all the time, while the test does random things to what they have mapped
/// and checks what they say they saw.
///
/// Each frame carries a token that is new whenever the frame gets an owner, code that returns it, and a word for each guest
/// to write to. A guest reads a stale translation: the token is one that it may not see any more. It writes through one:
/// its word changes in a frame that it has not mapped writable, or a free frame is not zero.
final class ModelMachine {
  let machine: Machine
  var random: ModelRandomness
  var guests: [ModelGuest] = []
  private(set) var steps = 0
  private(set) var records = 0
  private(set) var lives = 0
  /// How often each thing was done.
  private(set) var done: [String: Int] = [:]
  private(set) var trace: [String] = []
  private var epoch: UInt64 = 1
  private var lastToken: UInt64 = 0
  private var tokens: [Frame: UInt64] = [:]
  /// Which guests have a frame mapped writable, one bit each.
  private var writers: [Frame: UInt64] = [:]

  static let guestCount = 4

  init(seed: UInt64) throws {
    random = ModelRandomness(seed: seed)
    var configuration = Machine.Configuration()
    configuration.memory = 32 << 20
    configuration.processors = 2
    machine = try Machine(configuration)
    for index in 0..<Self.guestCount { guests.append(try newGuest(index)) }
  }

  private func newGuest(_ index: Int) throws -> ModelGuest {
    lives += 1
    return try ModelGuest(index, life: lives, in: machine, random: &random, epoch: epoch)
  }

  // --- a step

  /// Does one thing, lets guests run, and looks. Returns what is wrong.
  func step() throws -> [String] {
    steps += 1
    var wrong = drain()
    if random.oneIn(60) {
      wrong += try replace(random.below(guests.count))
    } else {
      let guest = random.pick(guests)
      let other = random.pick(guests)
      machine.withKernel { kernel in
        let (what, interim) = act(guest, other, &kernel)
        done[String(what.prefix { $0 != " " }), default: 0] += 1
        trace.append("\(steps): guest \(guest.index) \(what)")
        observe(kernel, interim: interim)
      }
    }
    if trace.count > 30 { trace.removeFirst() }
    wrong += letRun()
    wrong += machine.withKernel { kernel in
      // The walk over everything takes longer than all the rest.
      checkWords(kernel)
        + (steps % 4 == 0 ? kernel.checkInvariants { ($0.number &+ UInt32(steps / 4)) % 4 == 0 } : [])
    }
    for guest in guests where machine.environment(guest.id) == nil {
      wrong.append("guest \(guest.index) has ended: \(guest.environment.waitForOutcome())")
    }
    return wrong
  }

  private func drain() -> [String] {
    var wrong: [String] = []
    for guest in guests {
      let (count, problems) = guest.drain(machine.memory)
      records += count
      wrong += problems
    }
    return wrong
  }

  /// A little time for the guests, or none.
  private func letRun() -> [String] {
    guard !random.oneIn(4) else { return [] }
    let guest = random.pick(guests)
    let passes = guest.passes(in: machine.memory)
    let limit = ckvm_monotonic() + UInt64(random.pick([100_000, 500_000, 5_000_000]))
    var wrong: [String] = []
    while ckvm_monotonic() < limit, guest.passes(in: machine.memory) < passes + 2 {
      wrong += drain()
      for _ in 0..<200 { ckvm_pause() }
    }
    return wrong
  }

  /// Ends a guest and starts another, which uses its shell, while the rest run on.
  private func replace(_ index: Int) throws -> [String] {
    done["end", default: 0] += 1
    trace.append("\(steps): guest \(index) ends")
    let wrong = drain()
    guests[index].environment.kill()
    _ = guests[index].environment.waitForOutcome()
    machine.withKernel { forgetFreed($0) }
    guests[index] = try newGuest(index)
    machine.withKernel { observe($0, interim: []) }
    return wrong
  }

  // --- what the guests may see from now on

  /// Works out what each guest has at each of its places, once a change is complete.
  /// - Parameter interim: where something was unbound for a moment.
  private func observe(_ kernel: borrowing Kernel, interim: [(ModelGuest, UInt64)]) {
    epoch += 1
    forgetFreed(kernel)
    for (guest, address) in interim { guest.history.record(.none, at: address, epoch: epoch) }
    var writing: [Frame: UInt64] = [:]
    for guest in guests {
      guard let space = kernel.domains[guest.id]?.shell.space else { continue }
      for address in guest.probes {
        let entry = space.entry(of: GuestAddress(address), in: kernel.memory)
        guard entry.isPresent, let frame = kernel.frame(at: entry.address) else {
          guest.history.record(.none, at: address, epoch: epoch)
          continue
        }
        guest.history.record(
          .init(token: tokens[frame] ?? 0, rights: entry.rights), at: address, epoch: epoch)
        if entry.rights.contains(.write) { writing[frame, default: 0] |= 1 << UInt64(guest.index) }
      }
    }
    // From here on a guest that lost the right to write changes nothing.
    for (frame, before) in writers {
      let lost = before & ~(writing[frame] ?? 0)
      for index in 0..<guests.count where lost >> UInt64(index) & 1 == 1 && tokens[frame] != nil {
        kernel.memory.store(0, word(of: index, in: frame))
      }
    }
    writers = writing
    for guest in guests { guest.setEpoch(epoch, in: kernel.memory) }
  }

  private func forgetFreed(_ kernel: borrowing Kernel) {
    for frame in tokens.keys where kernel.frames.kind(of: frame) != .data {
      tokens[frame] = nil
      writers[frame] = nil
    }
  }

  private func word(of index: Int, in frame: Frame) -> PhysicalAddress {
    PhysicalAddress(frame.address.value + ModelGuest.offset(of: index))
  }

  private func checkWords(_ kernel: borrowing Kernel) -> [String] {
    var wrong: [String] = []
    for (frame, token) in tokens {
      if kernel.memory.load(frame.address) != token { wrong.append("\(frame) lost its token") }
      let allowed = writers[frame] ?? 0
      for index in 0..<guests.count where allowed >> UInt64(index) & 1 == 0 {
        let found = kernel.memory.load(word(of: index, in: frame))
        if found != 0 {
          wrong.append("guest \(index) wrote \(hexadecimal(found)) to \(frame), which it may not")
        }
      }
    }
    return wrong
  }

  // --- what is done

  /// Makes frames recognisable before anybody maps them.
  private func mark(_ run: (first: Frame, count: Int), _ kernel: borrowing Kernel) {
    for number in 0..<run.count {
      let frame = run.first.advanced(by: number)
      lastToken += 1
      let token = lastToken << 32 | lastToken
      tokens[frame] = token
      kernel.memory.store(token, frame.address)
      // mov $token, %eax; ret
      let code = 0xb8 | (token & 0xffff_ffff) << 8 | 0xc3 << 40
      kernel.memory.store(code, PhysicalAddress(frame.address.value + 0x800))
    }
  }

  private func ownHandles(_ guest: ModelGuest, _ kernel: borrowing Kernel) -> [(CapabilityHandle, Authority)]
  {
    kernel.capabilities.entries(of: guest.id).filter {
      !guest.essential.contains($0.handle) && $0.authority.resource.kind == .frames
    }.map { ($0.handle, $0.authority) }
  }

  private func anyRights() -> Rights {
    random.pick([.read, [.read, .write], [.read, .write], .all, .all, [.read, .execute], []])
  }
  /// One of the guest's places; mostly one where something is.
  private func place(_ guest: ModelGuest, _ kernel: borrowing Kernel, mapped: Bool) -> UInt64 {
    for _ in 0..<8 {
      let address = random.pick(guest.probes)
      // Where a small page was there is a table for good, and no huge page can be.
      if !mapped, ModelGuest.inHuge.contains(address), !random.oneIn(10) { continue }
      let entry = kernel.domains[guest.id]?.shell.space.entry(of: GuestAddress(address), in: kernel.memory)
      if entry?.isMapped == mapped { return address }
    }
    return random.pick(guest.probes)
  }

  /// Does something to `guest`'s memory, perhaps with `other`. Says what, and where something was unbound for a moment.
  private func act(_ guest: ModelGuest, _ other: ModelGuest, _ kernel: inout Kernel) -> (
    String, interim: [(ModelGuest, UInt64)]
  ) {
    // Huge pages have their own spells: in between there is rarely room for two.
    let choice =
      steps / 100 % 3 == 2 ? random.pick([5, 6, 7, 6, 7, 6, 7, 8, 15, 19, 20]) : random.below(21)
    let address = place(guest, kernel, mapped: (8...14).contains(choice))
    let at = GuestAddress(address)
    do throws(Refusal) {
      let own = ownHandles(guest, kernel)
      switch choice {
      case 0...3:
        // Frames just freed, if there are any, so that they change hands at once; else low ones, so that high ones stay
        // together for huge pages.
        let freed = kernel.retired.randomElement(using: &random)
        let low = (0..<20).lazy.map { _ in Frame(UInt32.random(in: 0..<1024, using: &self.random)) }
          .first { kernel.frames.isFree($0) }
        let (handle, run) = try kernel.allocateFrames(freed ?? low, count: 1, for: guest.id)
        mark(run, kernel)
        try kernel.map(handle, offset: 0, at: at, pages: 1, rights: anyRights(), in: guest.id)
        return ("allocates \(run.first) at \(at)", [])
      case 4:
        let (handle, run) = try kernel.allocateFrames(nil, count: 3, for: guest.id)
        mark(run, kernel)
        let first = GuestAddress(ModelGuest.dense[random.below(3)])
        try kernel.map(handle, offset: 0, at: first, pages: run.count, rights: anyRights(), in: guest.id)
        return ("allocates-several \(run) at \(first)", [])
      case 5:
        let (handle, run) = try kernel.allocateFrames(nil, count: 512, alignment: 512, for: guest.id)
        mark(run, kernel)
        let place = GuestAddress(random.pick(ModelGuest.huge))
        do throws(Refusal) {
          try kernel.map(
            handle, offset: 0, at: place, pages: 512, rights: anyRights(), huge: true, in: guest.id)
          return ("maps-huge \(run.first)", [])
        } catch {
          try kernel.drop(handle, in: guest.id)
          throw error
        }
      case 6...7:
        let space = kernel.domains[guest.id]?.shell.space
        let mapped = ModelGuest.huge.filter {
          space?.entry(of: GuestAddress($0), in: kernel.memory).isMapped ?? false
        }
        guard let base = mapped.randomElement(using: &random) else { throw .absent }
        let place = GuestAddress(base)
        let rights = anyRights()
        switch random.below(3) {
        case 0:
          try kernel.unmap(place, pages: 512, in: guest.id)
          return ("unmaps-huge \(place)", [])
        case 1:
          try kernel.protect(place, pages: 512, rights: rights, in: guest.id)
          return ("protects-huge \(place) \(rights)", [])
        default:
          // Another huge page, or a small one of other frames, where KVM may remember the first.
          let interim = [0, 100, 511].map { (guest, base + $0 << 12) }
          guard let (handle, authority) = own.filter({ $0.1.isHuge }).randomElement(using: &random) else {
            throw .absent
          }
          try kernel.unmap(place, pages: 512, in: guest.id)
          do throws(Refusal) {
            if random.oneIn(4) {
              try kernel.map(
                handle, offset: random.below(512), at: place, pages: 1, rights: rights, in: guest.id)
            } else {
              try kernel.map(
                handle, offset: 0, at: place, pages: 512, rights: rights, huge: true, in: guest.id)
            }
          } catch { return ("remaps-huge \(place): refused \(error.code)", interim) }
          return ("remaps-huge \(place) to \(authority)", interim)
        }
      case 8...9:
        try kernel.unmap(at, pages: random.oneIn(3) ? 2 : 1, in: guest.id)
        return ("unmaps \(at)", [])
      case 10...12:
        let rights = anyRights()
        try kernel.protect(at, pages: 1, rights: rights, in: guest.id)
        return ("protects \(at) \(rights)", [])
      case 13...14:
        guard let (handle, authority) = own.randomElement(using: &random) else { throw .absent }
        guard case .frames(let run) = authority.resource else { throw .badCapability }
        try kernel.unmap(at, pages: 1, in: guest.id)
        let offset = random.below(Int(run.count))
        // Refused or not, the page was away.
        do throws(Refusal) {
          try kernel.map(handle, offset: offset, at: at, pages: 1, rights: anyRights(), in: guest.id)
        } catch { return ("remaps \(at): refused \(error.code)", [(guest, address)]) }
        return ("remaps \(at) to \(run) \(offset)", [(guest, address)])
      case 15...17:
        guard let (handle, authority) = own.randomElement(using: &random) else { throw .absent }
        let rights = random.oneIn(2) ? authority.rights : authority.rights.subtracting(.write)
        let granted: CapabilityHandle
        do {
          granted = try kernel.capabilities.grant(
            handle, from: guest.id, to: other.id, as: Authority(authority.resource, rights))
        } catch { throw Refusal(error) }
        let place = GuestAddress(place(other, kernel, mapped: false))
        do throws(Refusal) {
          try kernel.map(granted, offset: 0, at: place, pages: 1, rights: anyRights(), in: other.id)
        } catch { return ("shares \(authority): refused \(error.code)", []) }
        return ("shares \(authority) with \(other.index) at \(place)", [])
      case 18:
        guard let (handle, authority) = own.randomElement(using: &random) else { throw .absent }
        let count = try kernel.revoke(handle, in: guest.id)
        return ("revokes \(authority), \(count)", [])
      case 19:
        guard let (handle, authority) = own.randomElement(using: &random) else { throw .absent }
        try kernel.drop(handle, in: guest.id)
        if random.oneIn(2) { kernel.reclaim() }
        return ("drops \(authority)", [])
      default:
        try ModelGuest.bindHandler(random.below(2), of: guest.id, &kernel)
        return ("rebinds", [])
      }
    } catch {
      return ("refused \(error.code)", [])
    }
  }
}

extension Authority {
  /// Frames that make one huge page.
  fileprivate var isHuge: Bool {
    guard case .frames(let run) = resource else { return false }
    return run.count == 512 && run.first % 512 == 0
  }
}

/// SplitMix64, and shorthand.
struct ModelRandomness: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
    return mixed ^ mixed >> 31
  }
  mutating func below(_ n: Int) -> Int { Int.random(in: 0..<n, using: &self) }
  mutating func oneIn(_ n: Int) -> Bool { below(n) == 0 }
  mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }
}
