import ExoABI
import Testing

@testable import Exo

/// Decoding: what an environment may say, and what is refused before anybody looks at the machine's state.
@Suite struct ExocallTests {
  typealias Arguments = (UInt64, UInt64, UInt64, UInt64, UInt64)

  private static func submission(_ call: UInt32, _ arguments: Arguments) -> Submission {
    Submission(tag: 1, arguments: arguments, call: call, consumed: 0)
  }
  private func decode(
    _ call: exo_call, _ a: UInt64 = 0, _ b: UInt64 = 0, _ c: UInt64 = 0, _ d: UInt64 = 0, _ e: UInt64 = 0
  ) throws(Refusal) -> Exocall {
    try Exocall(Self.submission(call.rawValue, (a, b, c, d, e)))
  }
  private func refusal(
    _ call: exo_call, _ a: UInt64 = 0, _ b: UInt64 = 0, _ c: UInt64 = 0, _ d: UInt64 = 0, _ e: UInt64 = 0
  ) -> Refusal? {
    do throws(Refusal) {
      _ = try decode(call, a, b, c, d, e)
      return nil
    } catch { return error }
  }

  private static let page: UInt64 = 0x40_0000
  private static let limit = UInt64(EXO_USER_LIMIT)

  @Test func plainCalls() throws {
    #expect(try decode(EXO_CALL_null) == .null)
    #expect(try decode(EXO_CALL_null, .max, .max, .max, .max, .max) == .null)
    #expect(try decode(EXO_CALL_clock) == .clock)
    #expect(try decode(EXO_CALL_exit, 7) == .exit(status: 7))
    // The low eight bits, as `exit` has them everywhere.
    #expect(try decode(EXO_CALL_exit, 0x1ff) == .exit(status: 255))
    #expect(try decode(EXO_CALL_exit, .max) == .exit(status: 255))
  }

  @Test func console() throws {
    for (call, make) in [
      (EXO_CALL_console_write, { Exocall.consoleWrite(address: $0, length: $1) }),
      (EXO_CALL_console_read, { Exocall.consoleRead(address: $0, length: $1) }),
    ] as [(exo_call, (GuestAddress, Int) -> Exocall)] {
      for length in [0, 1, 4096] {
        #expect(try decode(call, Self.page, UInt64(length)) == make(GuestAddress(Self.page), length))
      }
      // Where the bytes are is for the page table to say.
      for address in [0, .max, Self.limit, exo_kit_doorbell] as [UInt64] {
        #expect(try decode(call, address, 1) == make(GuestAddress(address), 1))
      }
      for length in [4097, 1 << 32, 1 << 63, .max] as [UInt64] {
        #expect(refusal(call, Self.page, length) == .invalid)
      }
    }
  }

  @Test func frameAllocate() throws {
    let any = UInt64(EXO_FRAME_ANY)
    #expect(try decode(EXO_CALL_frame_allocate, any, 1) == .frameAllocate(first: nil, count: 1))
    #expect(try decode(EXO_CALL_frame_allocate, 0, 3) == .frameAllocate(first: Frame(0), count: 3))
    #expect(
      try decode(EXO_CALL_frame_allocate, UInt64(UInt32.max), 1 << 16)
        == .frameAllocate(first: Frame(.max), count: 1 << 16))
    for count in [0, 1 << 16 + 1, 1 << 32, 1 << 63, .max] as [UInt64] {
      #expect(refusal(EXO_CALL_frame_allocate, any, count) == .invalid)
      #expect(refusal(EXO_CALL_frame_allocate, 5, count) == .invalid)
    }
    for alignment in [1, 2, 64, 512] as [UInt64] {
      #expect(
        try decode(EXO_CALL_frame_allocate, any, 512, alignment)
          == .frameAllocate(first: nil, count: 512, alignment: Int(alignment)))
    }
    for alignment in [3, 511, 1024, 1 << 32, 1 << 63, .max] as [UInt64] {
      #expect(refusal(EXO_CALL_frame_allocate, any, 512, alignment) == .invalid)
    }
    for frame in [1 << 32, any - 1, 1 << 63] as [UInt64] {
      #expect(refusal(EXO_CALL_frame_allocate, frame, 1) == .invalid)
    }
  }

  /// Whether a handle is good is for the capability table to say.
  @Test func frameFree() throws {
    for handle in [0, 1, 1 << 32, .max] as [UInt64] {
      guard case .frameFree(let capability) = try decode(EXO_CALL_frame_free, handle) else {
        Issue.record("not a frame_free")
        return
      }
      #expect(capability.rawValue == handle)
    }
  }

  @Test func map() throws {
    guard
      case .map(let capability, let offset, let address, let pages, let rights, let huge) =
        try decode(EXO_CALL_map, 0x2_0000_0003, 5, Self.page, 2, UInt64(EXO_READ | EXO_WRITE))
    else {
      Issue.record("not a map")
      return
    }
    #expect(capability.rawValue == 0x2_0000_0003 && offset == 5 && address == GuestAddress(Self.page))
    #expect(pages == 2 && rights == [.read, .write] && !huge)
    for raw in 0..<8 as Range<UInt64> {
      for flag in [0, UInt64(EXO_MAP_HUGE)] {
        guard
          case .map(_, _, _, _, let rights, let huge) =
            try decode(EXO_CALL_map, 1, 0, Self.page, 1, raw | flag)
        else {
          Issue.record("not a map")
          return
        }
        #expect(UInt64(rights.rawValue) == raw && huge == (flag != 0))
      }
    }
    for offset in [1 << 32 + 1, 1 << 63, .max] as [UInt64] {
      #expect(refusal(EXO_CALL_map, 1, offset, Self.page, 1, 1) == .outOfRange)
    }
    for rights in [8, 16, 1 << 32 | 1, 1 << 63, .max] as [UInt64] {
      #expect(refusal(EXO_CALL_map, 1, 0, Self.page, 1, rights) == .invalid)
    }
    expectRangeRefusals { refusal(EXO_CALL_map, 1, 0, $0, $1, 1) }
  }

  @Test func unmapAndProtect() throws {
    #expect(
      try decode(EXO_CALL_unmap, Self.page, 9) == .unmap(address: GuestAddress(Self.page), pages: 9))
    #expect(
      try decode(EXO_CALL_protect, Self.page, 9, UInt64(EXO_READ | EXO_EXECUTE))
        == .protect(address: GuestAddress(Self.page), pages: 9, rights: [.read, .execute]))
    #expect(
      try decode(EXO_CALL_protect, Self.page, 1, 0)
        == .protect(address: GuestAddress(Self.page), pages: 1, rights: []))
    #expect(refusal(EXO_CALL_protect, Self.page, 1, 8) == .invalid)
    expectRangeRefusals { refusal(EXO_CALL_unmap, $0, $1) }
    expectRangeRefusals { refusal(EXO_CALL_protect, $0, $1, 1) }
  }

  /// What every call on a range of pages accepts and refuses.
  private func expectRangeRefusals(_ refusal: (_ address: UInt64, _ pages: UInt64) -> Refusal?) {
    let floor = UInt64(EXO_USER_FLOOR)
    let good: [(UInt64, UInt64)] = [
      (floor, 1), (floor, 1 << 16), (exo_kit_start - 4096, 1), (exo_kit_start - 1 << 28, 1 << 16),
      (exo_kit_end, 1), (Self.limit - 4096, 1), (exo_stack_top, 1), (exo_kit_tables - 4096, 1),
      (exo_kit_tables_end, 1),
    ]
    for (address, pages) in good {
      #expect(refusal(address, pages) == nil, "\(hexadecimal(address)) \(pages)")
    }
    let bad: [(UInt64, UInt64)] = [
      // Not at a page, nothing, too much.
      (Self.page + 1, 1), (Self.page + 2048, 1), (Self.page, 0), (Self.page, 1 << 16 + 1),
      (Self.page, 1 << 52), (Self.page, 1 << 63), (Self.page, .max),
      // Below the floor, past the limit, the upper half.
      (0, 1), (floor - 4096, 1), (floor - 4096, 2), (Self.limit, 1), (Self.limit - 4096, 2),
      (1 << 47, 1), (exo_nucleus_base, 1), (0xffff_ffff_ffff_f000, 1), (0xffff_ffff_ffff_f000, 2),
      // The kit, whole or in part.
      (exo_kit_start, 1), (exo_kit_machine, 1), (exo_kit_doorbell, 1), (exo_kit_arguments, 1),
      (exo_kit_end - 4096, 1), (exo_kit_start - 4096, 2), (exo_kit_end - 4096, 2),
      (exo_kit_start - 4096, 1 << 9), (exo_kit_start + 0x8000, 1),
      // The window on the page table.
      (exo_kit_tables, 1), (exo_kit_tables - 4096, 2), (exo_kit_tables_end - 4096, 1),
      (exo_kit_tables_end - 4096, 2), (UInt64(EXO_KIT_TABLES_LEVEL3), 1),
    ]
    for (address, pages) in bad {
      #expect(refusal(address, pages) == .invalid, "\(hexadecimal(address)) \(pages)")
    }
  }

  @Test func exceptionBind() throws {
    let handler = Self.page
    let top: UInt64 = 0x7000_0000_0000
    #expect(
      try decode(EXO_CALL_exception_bind, 6, handler, top)
        == .exceptionBind(
          vector: ExceptionVector(6), handler: GuestAddress(handler), stackTop: GuestAddress(top),
          withAddress: false))
    #expect(
      try decode(EXO_CALL_exception_bind, 14, handler, top, UInt64(EXO_EXCEPTION_WITH_ADDRESS))
        == .exceptionBind(
          vector: .pageFault, handler: GuestAddress(handler), stackTop: GuestAddress(top), withAddress: true))
    for vector in 0..<32 as Range<UInt64> {
      let isBindable = ExceptionVector(UInt8(vector)).isBindable
      #expect(refusal(EXO_CALL_exception_bind, vector, handler, top) == (isBindable ? nil : .invalid))
      #expect(refusal(EXO_CALL_exception_unbind, vector) == (isBindable ? nil : .invalid))
      #expect(
        refusal(EXO_CALL_exception_bind, vector, handler, top, 1) == (vector == 14 ? nil : .invalid))
    }
    for vector in [32, 256 + 6, 1 << 32 + 6, .max] as [UInt64] {
      #expect(refusal(EXO_CALL_exception_bind, vector, handler, top) == .invalid)
      #expect(refusal(EXO_CALL_exception_unbind, vector) == .invalid)
    }
    for flags in [2, 3, 1 << 63, .max] as [UInt64] {
      #expect(refusal(EXO_CALL_exception_bind, 14, handler, top, flags) == .invalid)
    }
    for bad in [Self.limit, exo_nucleus_text, .max] {
      #expect(refusal(EXO_CALL_exception_bind, 6, bad, top) == .badAddress)
    }
  }

  /// The range a delivery pushes into lies in the user half, below the kit, aligned as the hardware aligns it.
  @Test func exceptionStacks() {
    func refused(_ top: UInt64) -> Bool {
      refusal(EXO_CALL_exception_bind, 6, Self.page, top) == .badAddress
    }
    for top in [UInt64(EXO_USER_FLOOR) + 4096, Self.page + 16, Self.page + 4096, exo_kit_start] {
      #expect(!refused(top), "\(hexadecimal(top))")
    }
    for top in [
      0, 16, 64, UInt64(EXO_USER_FLOOR), Self.page + 8, Self.page + 1, exo_kit_start + 16, exo_kit_start + 64,
      exo_kit_doorbell, exo_kit_trap + 4096, exo_kit_end, exo_kit_end + 4096, Self.limit, Self.limit + 16,
      exo_nucleus_data + 0x1000, exo_nucleus_idt + 0x200, 0xffff_ffff_ffff_fff0,
    ] as [UInt64] { #expect(refused(top), "\(hexadecimal(top))") }
  }

  @Test func capabilities() throws {
    func handle(_ raw: UInt64) -> CapabilityHandle { CapabilityHandle(rawValue: raw) }
    #expect(
      try decode(EXO_CALL_capability_derive, 7, 1, 2, 0x1ff)
        == .capabilityDerive(handle(7), first: 1, pages: 2, rights: CapabilityRights(rawValue: 0x1ff)))
    #expect(
      try decode(EXO_CALL_capability_grant, 7, 8, 1 << 32, 0, 1)
        == .capabilityGrant(handle(7), to: handle(8), first: 1 << 32, pages: 0, rights: .read))
    for raw in [0, 1, .max] as [UInt64] {
      #expect(try decode(EXO_CALL_capability_revoke, raw) == .capabilityRevoke(handle(raw)))
      #expect(try decode(EXO_CALL_capability_drop, raw) == .capabilityDrop(handle(raw)))
      #expect(try decode(EXO_CALL_capability_inspect, raw) == .capabilityInspect(handle(raw)))
      #expect(try decode(EXO_CALL_capability_next, raw) == .capabilityNext(handle(raw)))
    }
    for bad in [1 << 32 + 1, 1 << 63, .max] as [UInt64] {
      #expect(refusal(EXO_CALL_capability_derive, 7, bad, 1, 1) == .outOfRange)
      #expect(refusal(EXO_CALL_capability_derive, 7, 0, bad, 1) == .outOfRange)
      #expect(refusal(EXO_CALL_capability_grant, 7, 8, bad, 1, 1) == .outOfRange)
      #expect(refusal(EXO_CALL_capability_grant, 7, 8, 0, bad, 1) == .outOfRange)
    }
    for rights in [1 << 9, 1 << 32 | 1, .max] as [UInt64] {
      #expect(refusal(EXO_CALL_capability_derive, 7, 0, 1, rights) == .invalid)
      #expect(refusal(EXO_CALL_capability_grant, 7, 8, 0, 1, rights) == .invalid)
    }
  }

  @Test func environments() throws {
    let named = CapabilityHandle(rawValue: 5)
    #expect(
      try decode(EXO_CALL_environment_create, 1, 2, 3, .max)
        == .environmentCreate(
          Quota(
            frames: 1, capabilities: 2, bindings: 3, environments: .max, ringWork: .max))
    )
    #expect(
      try decode(EXO_CALL_environment_start, 5, Self.page, Self.page + 8, 9)
        == .environmentStart(
          named, EntryPoint(entry: GuestAddress(Self.page), stack: GuestAddress(Self.page + 8), argument: 9)))
    #expect(
      try decode(EXO_CALL_environment_ready, 5, Self.page, Self.page + 8)
        == .environmentReady(
          named, EntryPoint(entry: GuestAddress(Self.page), stack: GuestAddress(Self.page + 8))))
    for (word, placement) in [
      (0, .any), (1, .number(0)), (1024, .number(1023)), (UInt64(EXO_PROCESSOR_OWN), .own),
    ]
      as [(UInt64, Exocall.Placement)]
    {
      #expect(
        try decode(EXO_CALL_environment_create, 1, 2, 3, 4, word)
          == .environmentCreate(
            Quota(frames: 1, capabilities: 2, bindings: 3, withRingsFor: 4), on: placement))
    }
    for bad: UInt64 in [1025, UInt64(EXO_PROCESSOR_OWN) + 1, .max] {
      #expect(refusal(EXO_CALL_environment_create, 1, 2, 3, 4, bad) == .invalid)
    }
    for bad in [Self.limit, exo_nucleus_text, .max] {
      #expect(refusal(EXO_CALL_environment_ready, 5, bad, 0) == .badAddress)
      #expect(refusal(EXO_CALL_environment_ready, 5, 0, bad) == .badAddress)
      #expect(refusal(EXO_CALL_environment_start, 5, bad, 0) == .badAddress)
      #expect(refusal(EXO_CALL_environment_start, 5, 0, bad) == .badAddress)
    }
    #expect(try decode(EXO_CALL_environment_stop, 5) == .environmentStop(named))
    #expect(try decode(EXO_CALL_environment_resume, 5) == .environmentResume(named))
    #expect(try decode(EXO_CALL_environment_end, 5, 0x1_07) == .environmentEnd(named, status: 7))
    #expect(try decode(EXO_CALL_environment_inspect, 5) == .environmentInspect(named))
    #expect(try decode(EXO_CALL_environment_wait, 5) == .environmentWait(named))
    #expect(
      try decode(EXO_CALL_environment_map, 5, 6, Self.page, 3 << 32 | 7, 1)
        == .environmentMap(
          named, capability: CapabilityHandle(rawValue: 6), offset: 7, address: GuestAddress(Self.page),
          pages: 3, rights: .read))
    #expect(refusal(EXO_CALL_environment_map, 5, 6, Self.page, 1 << 32, 8) == .invalid)
    expectRangeRefusals { address, pages in
      // Pages that do not fit into their half of the word are none.
      pages >> 32 == 0 ? refusal(EXO_CALL_environment_map, 5, 6, address, pages << 32, 1) : .invalid
    }
  }

  @Test func vectorsGuaranteesAndRegions() throws {
    for (raw, operation) in [Exocall.PageOperation.map, .unmap, .protect].enumerated() {
      #expect(
        try decode(EXO_CALL_page_vector, UInt64(raw), Self.page, 128)
          == .pageVector(operation, address: GuestAddress(Self.page), count: 128))
    }
    #expect(refusal(EXO_CALL_page_vector, 3, Self.page, 1) == .invalid)
    for count in [129, 1 << 32, .max] as [UInt64] {
      #expect(refusal(EXO_CALL_page_vector, 0, Self.page, count) == .invalid)
    }
    for pinned in [false, true] {
      #expect(
        try decode(EXO_CALL_guarantee, Self.page, 2, pinned ? 1 : 0)
          == .guarantee(address: GuestAddress(Self.page), pages: 2, pinned: pinned))
    }
    #expect(refusal(EXO_CALL_guarantee, Self.page, 2, 2) == .invalid)
    expectRangeRefusals { refusal(EXO_CALL_guarantee, $0, $1, 1) }
    #expect(
      try decode(EXO_CALL_region_create, 4096, Self.page, 512)
        == .regionCreate(size: 4096, rule: GuestAddress(Self.page), length: 512))
    for (size, length) in [(0, 8), (4097, 8), (1, 513), (.max, 8), (1, .max)] as [(UInt64, UInt64)] {
      #expect(refusal(EXO_CALL_region_create, size, Self.page, length) == .invalid)
    }
    #expect(
      try decode(EXO_CALL_region_access, 5, 1, 4096, Self.page, 0)
        == .regionAccess(
          CapabilityHandle(rawValue: 5), .write, offset: 4096, address: GuestAddress(Self.page), length: 0))
    #expect(refusal(EXO_CALL_region_access, 5, 2, 0, Self.page, 1) == .invalid)
    for bad in [4097, .max] as [UInt64] {
      #expect(refusal(EXO_CALL_region_access, 5, 0, bad, Self.page, 1) == .outOfRange)
      #expect(refusal(EXO_CALL_region_access, 5, 0, 0, Self.page, bad) == .outOfRange)
    }
  }

  @Test func eventsAndSlices() throws {
    let top: UInt64 = 0x7000_0000_0000
    #expect(try decode(EXO_CALL_event_bind, 0, .max, .max) == .eventUnbind)
    for wanted in [[.sliceEnd, .timer], [], Event.Kind.allCases] as [[Event.Kind]] {
      let bits = wanted.reduce(UInt64(0)) { $0 | 1 << UInt64($1.rawValue) }
      let kinds = try #require(Event.Kinds(bits: bits))
      #expect(Event.Kind.allCases.filter(kinds.contains) == wanted)
      #expect(
        try decode(EXO_CALL_event_bind, Self.page, top, bits)
          == .eventBind(handler: GuestAddress(Self.page), stackTop: GuestAddress(top), kinds: kinds))
    }
    for kinds in [1 << UInt64(EXO_EVENT_KINDS), 1 << 32, .max] as [UInt64] {
      #expect(refusal(EXO_CALL_event_bind, Self.page, top, kinds) == .invalid)
    }
    for bad in [0, 8, top + 8, exo_kit_start + 16, .max - 15] as [UInt64] {
      #expect(refusal(EXO_CALL_event_bind, Self.page, bad, 1) == .badAddress)
    }
    #expect(refusal(EXO_CALL_event_bind, Self.limit, top, 1) == .badAddress)
    let named = CapabilityHandle(rawValue: 5)
    #expect(try decode(EXO_CALL_event_post, 5, .max) == .eventPost(named, value: .max))
    for time in [0, 1, .max] as [UInt64] { #expect(try decode(EXO_CALL_timer_set, time) == .timerSet(time)) }
    #expect(
      try decode(EXO_CALL_slices_allocate, 1, .max, 64)
        == .slicesAllocate(processor: 1, first: nil, count: 64))
    #expect(
      try decode(EXO_CALL_slices_allocate, 0, 60, 4) == .slicesAllocate(processor: 0, first: 60, count: 4))
    for (processor, first, count) in [
      (1024, 0, 1), (.max, 0, 1), (0, 0, 0), (0, 0, 65), (0, 61, 4), (0, 64, 1), (0, 65, 1), (0, .max - 1, 1),
      (0, .max, 65), (0, .max, .max),
    ] as [(UInt64, UInt64, UInt64)] {
      #expect(refusal(EXO_CALL_slices_allocate, processor, first, count) == .invalid)
    }
    #expect(
      try decode(EXO_CALL_slices_bind, 5, 2, 3, 0)
        == .slicesBind(named, first: 2, count: 3, environment: CapabilityHandle(rawValue: 0)))
    for (first, count) in [(65, 1), (.max, 1), (0, 0), (0, 65), (0, .max)] as [(UInt64, UInt64)] {
      #expect(refusal(EXO_CALL_slices_bind, 5, first, count, 0) == .outOfRange)
    }
  }

  /// An entry of a page vector is held to what the call it stands for is held to.
  @Test func vectorEntries() throws {
    func entry(
      _ operation: Exocall.PageOperation, _ address: UInt64, _ pages: UInt32, rights: UInt32 = 1,
      first: UInt64 = 0
    ) throws(Refusal) -> Exocall {
      try Exocall(
        operation,
        exo_page_operation(address: address, pages: pages, rights: rights, capability: 5, first: first))
    }
    let place = GuestAddress(Self.page)
    #expect(
      try entry(.map, Self.page, 2, rights: 3, first: 4)
        == .map(
          capability: CapabilityHandle(rawValue: 5), offset: 4, address: place, pages: 2,
          rights: [.read, .write]))
    #expect(try entry(.unmap, Self.page, 2, rights: .max, first: .max) == .unmap(address: place, pages: 2))
    #expect(try entry(.protect, Self.page, 2) == .protect(address: place, pages: 2, rights: .read))
    #expect(throws: Refusal.outOfRange) { try entry(.map, Self.page, 1, first: .max) }
    #expect(throws: Refusal.invalid) { try entry(.protect, Self.page, 1, rights: 8) }
    for operation in [Exocall.PageOperation.map, .unmap, .protect] {
      expectRangeRefusals { address, pages in
        guard let pages = UInt32(exactly: pages) else { return .invalid }
        do throws(Refusal) {
          _ = try entry(operation, address, pages)
          return nil
        } catch { return error }
      }
    }
  }

  @Test func unknownCalls() {
    for call in [EXO_CALL_COUNT.rawValue, EXO_CALL_COUNT.rawValue + 1, 1 << 16, 1 << 31, .max] {
      #expect(throws: Refusal.noSuchCall) { try Exocall(Self.submission(call, (0, 0, 0, 0, 0))) }
    }
  }

  /// Every number of the table is decoded to something: none is forgotten.
  @Test func everyCallIsKnown() {
    for call in 0..<EXO_CALL_COUNT.rawValue {
      do throws(Refusal) {
        _ = try Exocall(Self.submission(call, (0, 0, 0, 0, 0)))
      } catch { #expect(error != .noSuchCall, "call \(call)") }
    }
  }
}
