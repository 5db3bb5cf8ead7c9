import ExoABI

@testable import Exo

/// A small machine with a few environments that do random things to it and to one another, half of them sensible.
/// Guests are played by the test: it writes into their pages.
final class KernelModel {
  let bench: KernelBench
  let seed: UInt64
  var random: Randomness
  private(set) var steps = 0
  private(set) var (calls, accepted) = (0, 0)
  /// What happened lately, for the report of a failure.
  private(set) var trace: [String] = []
  var living: [EnvironmentID] = []
  /// Handles seen before: stale now, or another environment's.
  private var oldHandles: [UInt64] = [0]

  static let frames = 2048
  static let mostEnvironments = 8

  init(seed: UInt64) throws {
    self.seed = seed
    random = Randomness(seed: seed)
    bench = try KernelBench(frames: Self.frames)
    if seed % 2 == 0 { bench.kernel.keys = .off }
    try addDomain()
    try addDomain()
  }

  private func addDomain() throws {
    living.append(try bench.domain(frames: UInt64(random.pick([120, 300, 900]))))
  }

  // --- a step

  /// Does one thing. Returns what is wrong afterwards.
  func step() -> [String] {
    steps += 1
    let id = random.pick(living)
    let what: String
    let before = isStateChecked ? state() : 0
    var wrong: [String] = []
    switch random.below(40) {
    case 0 where random.oneIn(lifetime):
      what = destroy(random.oneIn(3) ? random.pick(living) : living.last ?? id)
    case 1: what = createChild(of: id)
    case 2:
      bench.kernel.reclaim()
      what = "reclaim"
    case 3...6: what = scribble(id)
    default:
      let submission = random.oneIn(2) ? sensibleSubmission(for: id) : hostileSubmission(for: id)
      let outcome = perform(submission, by: id)
      what = "\(id): \(submission.call)\(submission.arguments) -> \(outcome)"
      if case .failure = outcome, isStateChecked, state() != before {
        wrong.append("a refused call changed something")
      }
    }
    trace.append("\(steps) \(what)")
    if trace.count > 24 { trace.removeFirst() }
    endOrphans()
    if living.isEmpty {
      do { try addDomain() } catch { wrong.append("no environment can be made: \(error)") }
    }
    return wrong
  }

  /// An environment ends every 40 times as many steps.
  var lifetime = 1
  /// Whether a refused call is seen to change nothing: costs more than the call.
  var checksState = true
  private var isStateChecked: Bool { checksState && steps % 4 == 0 }

  /// A call as a ring carries it, decoded and carried out. Those that need a machine are done by hand.
  func perform(_ submission: Submission, by id: EnvironmentID) -> Result<Int64, Refusal> {
    calls += 1
    do throws(Refusal) {
      let call = try Exocall(submission)
      let result = try perform(call, by: id)
      accepted += 1
      return .success(result)
    } catch {
      return .failure(error)
    }
  }

  private func perform(_ call: Exocall, by id: EnvironmentID) throws(Refusal) -> Int64 {
    switch call {
    case .null, .clock, .exit, .consoleRead, .consoleWrite: return 0
    case .predicateBind(let rule, let length, let page):
      _ = try bench.kernel.bindPredicate(ruleAt: rule, length: length, page: page, in: id)
      return 0
    case .revokeRequest(let handle, let kind, let amount, let deadline):
      let asked = try bench.kernel.environment(handle, needing: .control, in: id)
      _ = try bench.kernel.ask(
        asked, for: kind, amount, by: deadline, asker: .environment(id, tag: 1))
      bench.kernel.repossess(asked, at: .max)
      return 0
    case .environmentCreate(let quota, _):
      guard living.count < Self.mostEnvironments else { throw .quota }
      let child = bench.kernel.newEnvironmentID()
      let handle = try bench.kernel.createChild(KernelBench.request(child, quota: quota), of: id)
      living.append(child)
      return Int64(bitPattern: handle.rawValue)
    case .environmentEnd(let handle, _):
      _ = destroy(try bench.kernel.environment(handle, needing: .control, in: id))
      return 0
    case .environmentReady(let handle, let point):
      let child = try bench.kernel.environment(handle, needing: .control, in: id)
      guard bench.kernel.capabilities.quotas.account(of: child)?.parent == id else { throw .notPermitted }
      return Int64(try bench.kernel.ready(child, at: point, by: id, through: handle))
    case .environmentStart(let handle, _), .environmentStop(let handle), .environmentResume(let handle):
      _ = try bench.kernel.environment(handle, needing: .control, in: id)
      return 0
    case .timerSet: return 0
    case .eventBind(let handler, let stackTop, let kinds):
      _ = try bench.kernel.bindEvents(handler: handler, stackTop: stackTop, kinds: kinds, in: id)
      return 0
    case .eventUnbind:
      try bench.kernel.unbindEvents(in: id)
      return 0
    case .eventPost(let handle, _):
      _ = try bench.kernel.environment(handle, needing: .deliver, in: id)
      return 0
    case .slicesBind(let handle, let first, let count, _):
      _ = try bench.kernel.slices(handle, first: first, count: count, in: id)
      return 0
    case .environmentInspect(let handle), .environmentWait(let handle):
      _ = try bench.kernel.environment(handle, needing: .inspect, in: id)
      return 0
    default: return try bench.kernel.carryOut(call, for: id).result
    }
  }

  private func destroy(_ id: EnvironmentID) -> String {
    guard let index = living.firstIndex(of: id) else { return "\(id) is dead" }
    oldHandles += bench.kernel.capabilities.entries(of: id).prefix(4).map(\.handle.rawValue)
    oldHandles = oldHandles.suffix(64)
    bench.kernel.destroyDomain(id)
    living.remove(at: index)
    return "\(id) ends"
  }

  /// Those whose owner gave them up end, and those that these owned.
  private func endOrphans() {
    while true {
      let orphans = bench.kernel.takeAftermath()?.orphans.map(\.id) ?? []
      if orphans.isEmpty { return }
      for id in orphans { trace.append("orphan: " + destroy(id)) }
    }
  }

  private func createChild(of id: EnvironmentID) -> String {
    guard living.count < Self.mostEnvironments else { return "enough environments" }
    let child = bench.kernel.newEnvironmentID()
    let quota = Quota(
      frames: UInt64(random.below(64)), capabilities: UInt64(random.below(30)), bindings: 1,
      environments: UInt64(random.below(3)), ringWork: UInt64(random.below(65)))
    do {
      let handle = try bench.kernel.createChild(KernelBench.request(child, quota: quota), of: id)
      living.append(child)
      return "\(id) makes \(child) as \(handle)"
    } catch {
      return "\(id) makes no child: \(error.code)"
    }
  }

  /// An environment writes to what it may write to.
  private func scribble(_ id: EnvironmentID) -> String {
    let address = GuestAddress(sensibleAddress() & ~0xfff)
    // Now and then what a region takes for a rule: the last of its 8-byte instructions gives a result.
    let bytes: [UInt8] =
      random.oneIn(3)
      ? [0, 0, 0, 0, 1, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0]
      : (0..<64).map { _ in UInt8.random(in: 0...255, using: &random) }
    let wrote =
      bench.kernel.domains[id]?.shell.space.copyOut(bytes[...], to: address, memory: bench.kernel.memory)
      ?? false
    return "\(id) writes at \(address): \(wrote)"
  }

  /// Everything bound and held, as far as a refused call must leave it alone, in one number.
  private func state() -> Int {
    var sum = 0
    func add(_ values: AnyHashable...) {
      var hasher = Hasher()
      for value in values { hasher.combine(value) }
      sum &+= hasher.finalize()
    }
    let records = bench.kernel.frames.records
    for number in 0..<UInt32(Self.frames) where records[Int(number)].isMapped {
      for mapping in bench.kernel.frames.mappings(of: Frame(number)) {
        add(mapping, bench.entry(mapping.address.value, of: mapping.environment))
      }
    }
    for id in living {
      for (_, authority) in bench.kernel.capabilities.entries(of: id) { add(id, authority) }
    }
    return sum
  }

  // --- arguments

  func sensibleHandle(of id: EnvironmentID) -> UInt64 {
    let entries = bench.kernel.capabilities.entries(of: id)
    return entries.isEmpty ? 0 : random.pick(entries).handle.rawValue
  }
  private func environmentHandle(of id: EnvironmentID) -> UInt64 {
    let entries = bench.kernel.capabilities.entries(of: id).filter {
      if case .environment = $0.authority.resource { true } else { false }
    }
    return entries.isEmpty ? sensibleHandle(of: id) : random.pick(entries).handle.rawValue
  }
  /// A capability to what a huge page needs, if there is one.
  private func hugeHandle(of id: EnvironmentID) -> UInt64 {
    let entries = bench.kernel.capabilities.entries(of: id).filter {
      if case .frames(let run) = $0.authority.resource { run.count >= 512 } else { false }
    }
    return entries.isEmpty ? sensibleHandle(of: id) : random.pick(entries).handle.rawValue
  }
  private func hugeAddress() -> UInt64 { random.pick([0x40_0000, 0x60_0000, 0x7fc0_0000, 0x80_0000_0000]) }
  /// A few pages here and there: side by side, far apart, at every edge of what may be mapped.
  func sensibleAddress() -> UInt64 {
    let bases: [UInt64] = [
      0x40_0000, 0x40_0000, 0x40_0000, 0x5f_f000, UInt64(EXO_USER_FLOOR), 0x1f_f000, 0x3fff_e000,
      0x7f_ffff_e000,
      exo_kit_start - 0x4000, exo_kit_end, exo_kit_tables - 0x3000, exo_kit_tables_end,
      exo_stack_top - 0x4000, UInt64(EXO_USER_LIMIT) - 0x4000,
    ]
    return random.pick(bases) + UInt64(random.below(8)) << 12
  }
  func hostileWord() -> UInt64 {
    switch random.below(8) {
    case 0: return random.next()
    case 1: return random.ofAnySize()
    case 2: return 1 << UInt64(random.below(64))
    case 3: return (1 << UInt64(random.below(64))) &- 1
    case 4: return sensibleAddress() &+ UInt64(random.below(4096))
    case 5:
      return random.pick([
        exo_kit_start, exo_kit_submission, exo_kit_trap, exo_kit_doorbell, exo_kit_arguments,
        exo_nucleus_text,
        exo_nucleus_idt, exo_kit_tables, exo_kit_tables + 0x40_0000, 0, UInt64(EXO_USER_LIMIT),
        0xffff_ffff_ffff_f000, 0x8000_0000_0000_0000,
      ])
    case 6: return random.pick(oldHandles)
    default: return sensibleHandle(of: random.pick(living))
    }
  }
  private func pages() -> UInt64 { UInt64(random.pick([1, 1, 1, 1, 2, 2, 3, 4, 8])) }
  private func rights() -> UInt64 { UInt64(random.pick([1, 3, 3, 7, 5, 0, 2, 4, 6])) }
  private func capabilityRights() -> UInt64 { random.oneIn(2) ? 0x1ff : UInt64(random.below(0x200)) }

  private func submission(_ call: exo_call, _ arguments: [UInt64]) -> Submission {
    let five = arguments + [UInt64](repeating: 0, count: 5 - arguments.count)
    return Submission(
      tag: 0, arguments: (five[0], five[1], five[2], five[3], five[4]), call: call.rawValue, consumed: 0)
  }

  /// What a library OS might ask.
  func sensibleSubmission(for id: EnvironmentID) -> Submission {
    let handle = sensibleHandle(of: id)
    switch random.below(32) {
    case 0...2:
      let frame = random.oneIn(2) ? UInt64.max : UInt64(random.below(Self.frames))
      if random.oneIn(4) { return submission(EXO_CALL_frame_allocate, [.max, 512, 512]) }
      return submission(EXO_CALL_frame_allocate, [frame, pages(), random.oneIn(8) ? 4 : 0])
    case 3: return submission(EXO_CALL_frame_free, [handle])
    case 4:
      return submission(
        EXO_CALL_map, [hugeHandle(of: id), 0, hugeAddress(), 512, rights() | UInt64(EXO_MAP_HUGE)])
    case 5...8:
      return submission(
        EXO_CALL_map, [handle, UInt64(random.pick([0, 0, 0, 1])), sensibleAddress(), pages(), rights()])
    case 9:
      if random.oneIn(3) { return submission(EXO_CALL_unmap, [hugeAddress(), 512]) }
      return submission(EXO_CALL_unmap, [sensibleAddress(), pages()])
    case 10...11:
      if random.oneIn(4) {
        return submission(EXO_CALL_key_set, [sensibleAddress(), pages(), UInt64(random.below(17))])
      }
      if random.oneIn(3) { return submission(EXO_CALL_protect, [hugeAddress(), 512, rights()]) }
      return submission(EXO_CALL_protect, [sensibleAddress(), pages(), rights()])
    case 12...13:
      let top = sensibleAddress() + UInt64(random.pick([0, 0x10, 0x40, 0x800, 0xff0]))
      let vector = UInt64(random.pick([14, 14, 3, 1, 6, 13, 0]))
      return submission(
        EXO_CALL_exception_bind,
        [vector, sensibleAddress(), top, vector == 14 ? UInt64(random.below(2)) : 0])
    case 14: return submission(EXO_CALL_exception_unbind, [UInt64(random.pick([14, 3, 1, 6, 13, 0]))])
    case 15:
      return submission(
        EXO_CALL_capability_derive, [handle, 0, random.oneIn(3) ? 0 : pages(), capabilityRights()])
    case 16...17:
      return submission(
        EXO_CALL_capability_grant,
        [handle, environmentHandle(of: id), 0, random.oneIn(3) ? 0 : pages(), capabilityRights()])
    case 18: return submission(EXO_CALL_capability_revoke, [handle])
    case 19: return submission(EXO_CALL_capability_drop, [handle])
    case 20:
      return submission(
        EXO_CALL_environment_map,
        [environmentHandle(of: id), handle, sensibleAddress(), pages() << 32, rights()])
    case 21:
      return submission(
        EXO_CALL_environment_create, [UInt64(random.below(40)), UInt64(random.below(20)), 1, 1])
    case 22...23:
      return submission(EXO_CALL_guarantee, [sensibleAddress(), pages(), UInt64(random.below(2))])
    case 24:
      // A rule of zeros ends with no result; one of operation 13 gives register 0.
      let length = UInt64(random.pick([8, 8, 16, 512]))
      return submission(EXO_CALL_region_create, [UInt64(1 + random.below(64)), sensibleAddress(), length])
    case 25:
      return submission(
        EXO_CALL_region_access,
        [
          handle, UInt64(random.below(2)), UInt64(random.below(16)), sensibleAddress(),
          UInt64(random.below(64)),
        ])
    case 26:
      if random.oneIn(3) { return submission(EXO_CALL_event_bind, [0]) }
      return submission(
        EXO_CALL_event_bind,
        [
          sensibleAddress(), sensibleAddress() + UInt64(random.pick([0, 0x20, 0x800])),
          UInt64(random.below(32)),
        ])
    case 27:
      return submission(
        EXO_CALL_slices_allocate,
        [
          UInt64(random.below(2)), random.oneIn(2) ? .max : UInt64(random.below(64)),
          UInt64(1 + random.below(4)),
        ])
    case 28: return submission(EXO_CALL_slices_bind, [handle, 0, UInt64(1 + random.below(3)), 0])
    default: return vectorSubmission(for: id, isSensible: true)
    }
  }

  /// What a library OS should not ask.
  func hostileSubmission(for id: EnvironmentID) -> Submission {
    switch random.below(4) {
    case 0:
      let number = random.oneIn(4) ? UInt32(truncatingIfNeeded: random.next()) : UInt32(random.below(40))
      let a = hostileWord()
      return Submission(
        tag: random.next(), arguments: (a, hostileWord(), hostileWord(), hostileWord(), hostileWord()),
        call: number, consumed: UInt32(truncatingIfNeeded: random.next()))
    case 1: return vectorSubmission(for: id, isSensible: false)
    default:
      // Sensible but for one argument or two.
      var submission = sensibleSubmission(for: id)
      for _ in 0...random.below(2) {
        let word = hostileWord()
        switch random.below(5) {
        case 0: submission.arguments.0 = word
        case 1: submission.arguments.1 = word
        case 2: submission.arguments.2 = word
        case 3: submission.arguments.3 = word
        default: submission.arguments.4 = word
        }
      }
      return submission
    }
  }

  /// Writes page operations into the environment's memory, wherever it may write.
  private func vectorSubmission(for id: EnvironmentID, isSensible: Bool) -> Submission {
    let address = sensibleAddress() + UInt64(random.pick([0, 0, 4064, 4000]))
    let count = random.pick([1, 2, 3, 5])
    var bytes: [UInt8] = []
    for _ in 0..<count {
      let (a, b, c, d, e) =
        isSensible || random.oneIn(2)
        ? (sensibleAddress(), pages(), rights(), sensibleHandle(of: id), UInt64(0))
        : (hostileWord(), hostileWord(), hostileWord(), hostileWord(), hostileWord())
      for (word, length) in [(a, 8), (b, 4), (c, 4), (d, 8), (e, 8)] {
        for shift in 0..<length { bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift * 8))) }
      }
    }
    _ = bench.kernel.domains[id]?.shell.space.copyOut(
      bytes[...], to: GuestAddress(address), memory: bench.kernel.memory)
    let length = isSensible ? UInt64(count) : random.pick([UInt64(count), 0, 128, 129, hostileWord()])
    return submission(EXO_CALL_page_vector, [UInt64(random.pick([0, 0, 1, 2])), address, length])
  }
}
