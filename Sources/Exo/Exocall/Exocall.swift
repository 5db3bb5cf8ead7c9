import ExoABI

/// Why an exocall was refused: the errno its completion carries.
struct Refusal: Error, Hashable, Sendable {
  let code: Int32
  static let notPermitted = Refusal(code: EXO_EPERM)
  static let absent = Refusal(code: EXO_ENOENT)
  static let inputOutput = Refusal(code: EXO_EIO)
  static let badCapability = Refusal(code: EXO_EBADF)
  static let noMemory = Refusal(code: EXO_ENOMEM)
  static let badAddress = Refusal(code: EXO_EFAULT)
  static let busy = Refusal(code: EXO_EBUSY)
  static let exists = Refusal(code: EXO_EEXIST)
  static let invalid = Refusal(code: EXO_EINVAL)
  static let brokenPipe = Refusal(code: EXO_EPIPE)
  static let outOfRange = Refusal(code: EXO_ERANGE)
  static let noSpace = Refusal(code: EXO_ENOSPC)
  static let unsupported = Refusal(code: EXO_EOPNOTSUPP)
  static let noSuchCall = Refusal(code: EXO_ENOSYS)
  static let stale = Refusal(code: EXO_ESTALE)
  static let quota = Refusal(code: EXO_EDQUOT)
}

/// A decoded request: every field was read once and has a valid form. What needs the machine's state to judge
/// (who owns what) is for the one who carries it out.
///
/// Nothing in it is counted: to copy or drop what is would go through all of it again, in other widths than it was written, and the
/// processor has every store before such a load reach the cache first, the answers that were just posted among them.
enum Exocall: Hashable, Sendable, BitwiseCopyable {
  case null
  case exit(status: UInt8)
  case consoleWrite(address: GuestAddress, length: Int)
  case consoleRead(address: GuestAddress, length: Int)
  case frameAllocate(first: Frame?, count: Int, alignment: Int = 1)
  case frameFree(capability: CapabilityHandle)
  case map(
    capability: CapabilityHandle, offset: Int, address: GuestAddress, pages: Int, rights: Rights,
    huge: Bool = false)
  case unmap(address: GuestAddress, pages: Int)
  case protect(address: GuestAddress, pages: Int, rights: Rights)
  case keySet(address: GuestAddress, pages: Int, key: Int)
  case clock
  case exceptionBind(
    vector: ExceptionVector, handler: GuestAddress, stackTop: GuestAddress, withAddress: Bool)
  case exceptionUnbind(vector: ExceptionVector)
  case capabilityDerive(CapabilityHandle, first: Int, pages: Int, rights: CapabilityRights)
  case capabilityGrant(
    CapabilityHandle, to: CapabilityHandle, first: Int, pages: Int, rights: CapabilityRights)
  case capabilityRevoke(CapabilityHandle)
  case capabilityDrop(CapabilityHandle)
  case capabilityInspect(CapabilityHandle)
  case capabilityNext(CapabilityHandle)
  case environmentCreate(Quota, on: Placement = .any)
  case environmentMap(
    CapabilityHandle, capability: CapabilityHandle, offset: Int, address: GuestAddress, pages: Int,
    rights: Rights)
  case environmentStart(CapabilityHandle, EntryPoint)
  case environmentReady(CapabilityHandle, EntryPoint)
  case environmentStop(CapabilityHandle)
  case environmentResume(CapabilityHandle)
  case environmentEnd(CapabilityHandle, status: UInt8)
  case environmentInspect(CapabilityHandle)
  case environmentWait(CapabilityHandle)
  case pageVector(PageOperation, address: GuestAddress, count: Int)

  case guarantee(address: GuestAddress, pages: Int, pinned: Bool)

  case regionCreate(size: Int, rule: GuestAddress, length: Int)
  case regionAccess(
    CapabilityHandle, Region.Operation, offset: Int, address: GuestAddress, length: Int)

  case eventBind(handler: GuestAddress, stackTop: GuestAddress, kinds: Event.Kinds)
  case eventUnbind
  case eventPost(CapabilityHandle, value: UInt64)
  case timerSet(UInt64)
  case slicesAllocate(processor: Int, first: Int?, count: Int)
  case transferBind(GuestAddress?)
  case gateCreate
  case gateConnect(CapabilityHandle)
  case gateDisconnect(Int)
  case gateSignal(Int)
  case gateDeadline(UInt64)
  case predicateBind(rule: GuestAddress, length: Int, page: GuestAddress)
  case revokeRequest(CapabilityHandle, kind: Resource.Kind, amount: UInt64, deadline: UInt64)
  case slicesBind(CapabilityHandle, first: Int, count: Int, environment: CapabilityHandle)

  case systemCallBind(handler: GuestAddress?)

  case packetRingBind(GuestAddress, slots: Int)
  case packetRingUnbind(Int)
  case filterInstall(GuestAddress)
  case transmitDerive(CapabilityHandle, steps: GuestAddress, count: Int)
  case transmitBind(CapabilityHandle, ring: Int)
  case packetSend(ring: Int)
  case handlerBind(
    CapabilityHandle, program: GuestAddress, length: Int, region: Kernel.RegionDescription?)

  enum PageOperation: UInt64, Sendable { case map, unmap, protect }

  /// Where a new environment runs.
  enum Placement: Hashable, Sendable, BitwiseCopyable {
    case any
    /// Where its maker does.
    case own
    case number(Int)

    init(_ word: UInt64) throws(Refusal) {
      switch word {
      case 0: self = .any
      case UInt64(EXO_PROCESSOR_OWN): self = .own
      case 1...1024: self = .number(Int(word) - 1)
      default: throw .invalid
      }
    }
  }

  /// Whether an environment that made it is not as it was before, other than in its memory.
  var lasts: Bool {
    switch self {
    case .null, .clock, .consoleWrite, .eventPost, .capabilityInspect, .capabilityNext, .environmentInspect:
      false
    default: true
    }
  }

  /// The most one console call moves: what a pipe takes without blocking.
  static let consoleLimit = 4096
  /// The most pages one call works on: bounds how long the exokernel's lock is held.
  static let pageLimit = 1 << 16

  // Part of the loop that serves: handed on in memory it would be stores enough to fill the processor's queue of them while an answer
  // waits for its line.
  @inline(__always)
  init(_ submission: Submission) throws(Refusal) {
    let (a, b, c, d, e) = submission.arguments
    switch submission.call {
    case EXO_CALL_null.rawValue: self = .null
    case EXO_CALL_exit.rawValue: self = .exit(status: UInt8(truncatingIfNeeded: a))
    case EXO_CALL_console_write.rawValue:
      self = .consoleWrite(address: GuestAddress(a), length: try Self.consoleLength(b))
    case EXO_CALL_console_read.rawValue:
      self = .consoleRead(address: GuestAddress(a), length: try Self.consoleLength(b))
    case EXO_CALL_frame_allocate.rawValue:
      let first: Frame?
      if a == UInt64(EXO_FRAME_ANY) {
        first = nil
      } else {
        guard let number = UInt32(exactly: a) else { throw .invalid }
        first = Frame(number)
      }
      guard c <= UInt64(AddressSpace.hugePages), c & (c &- 1) == 0 else { throw .invalid }
      self = .frameAllocate(first: first, count: try Self.pages(b), alignment: max(Int(c), 1))
    case EXO_CALL_frame_free.rawValue: self = .frameFree(capability: CapabilityHandle(rawValue: a))
    case EXO_CALL_map.rawValue:
      self = .map(
        capability: CapabilityHandle(rawValue: a), offset: try Self.offset(b),
        address: try Self.mappable(c, pages: d), pages: try Self.pages(d),
        rights: try Self.rights(e & ~UInt64(EXO_MAP_HUGE)), huge: e & UInt64(EXO_MAP_HUGE) != 0)
    case EXO_CALL_unmap.rawValue:
      self = .unmap(address: try Self.mappable(a, pages: b), pages: try Self.pages(b))
    case EXO_CALL_protect.rawValue:
      self = .protect(
        address: try Self.mappable(a, pages: b), pages: try Self.pages(b), rights: try Self.rights(c))
    case EXO_CALL_key_set.rawValue:
      guard c < UInt64(EXO_KEYS) else { throw .invalid }
      self = .keySet(address: try Self.mappable(a, pages: b), pages: try Self.pages(b), key: Int(c))
    case EXO_CALL_clock.rawValue: self = .clock
    case EXO_CALL_exception_bind.rawValue:
      let vector = try Self.vector(a)
      try Self.checkHandler(b, stackTop: c)
      guard d & ~UInt64(EXO_EXCEPTION_WITH_ADDRESS) == 0 else { throw .invalid }
      let withAddress = d & UInt64(EXO_EXCEPTION_WITH_ADDRESS) != 0
      guard !withAddress || vector == .pageFault else { throw .invalid }
      self = .exceptionBind(
        vector: vector, handler: GuestAddress(b), stackTop: GuestAddress(c), withAddress: withAddress)
    case EXO_CALL_exception_unbind.rawValue: self = .exceptionUnbind(vector: try Self.vector(a))
    case EXO_CALL_capability_derive.rawValue:
      self = .capabilityDerive(
        CapabilityHandle(rawValue: a), first: try Self.offset(b), pages: try Self.offset(c),
        rights: try Self.capabilityRights(d))
    case EXO_CALL_capability_grant.rawValue:
      self = .capabilityGrant(
        CapabilityHandle(rawValue: a), to: CapabilityHandle(rawValue: b), first: try Self.offset(c),
        pages: try Self.offset(d), rights: try Self.capabilityRights(e))
    case EXO_CALL_capability_revoke.rawValue: self = .capabilityRevoke(CapabilityHandle(rawValue: a))
    case EXO_CALL_capability_drop.rawValue: self = .capabilityDrop(CapabilityHandle(rawValue: a))
    case EXO_CALL_capability_inspect.rawValue: self = .capabilityInspect(CapabilityHandle(rawValue: a))
    case EXO_CALL_capability_next.rawValue: self = .capabilityNext(CapabilityHandle(rawValue: a))
    case EXO_CALL_environment_create.rawValue:
      self = .environmentCreate(
        Quota(frames: a, capabilities: b, bindings: c, withRingsFor: d), on: try Placement(e))
    case EXO_CALL_environment_map.rawValue:
      let pages = d >> 32
      self = .environmentMap(
        CapabilityHandle(rawValue: a), capability: CapabilityHandle(rawValue: b),
        offset: Int(d & 0xffff_ffff), address: try Self.mappable(c, pages: pages),
        pages: try Self.pages(pages),
        rights: try Self.rights(e))
    case EXO_CALL_environment_start.rawValue:
      guard b < UInt64(EXO_USER_LIMIT), c < UInt64(EXO_USER_LIMIT) else { throw .badAddress }
      self = .environmentStart(
        CapabilityHandle(rawValue: a),
        EntryPoint(entry: GuestAddress(b), stack: GuestAddress(c), argument: d))
    case EXO_CALL_environment_ready.rawValue:
      guard b < UInt64(EXO_USER_LIMIT), c < UInt64(EXO_USER_LIMIT) else { throw .badAddress }
      self = .environmentReady(
        CapabilityHandle(rawValue: a), EntryPoint(entry: GuestAddress(b), stack: GuestAddress(c)))
    case EXO_CALL_environment_stop.rawValue: self = .environmentStop(CapabilityHandle(rawValue: a))
    case EXO_CALL_environment_resume.rawValue: self = .environmentResume(CapabilityHandle(rawValue: a))
    case EXO_CALL_environment_end.rawValue:
      self = .environmentEnd(CapabilityHandle(rawValue: a), status: UInt8(truncatingIfNeeded: b))
    case EXO_CALL_environment_inspect.rawValue: self = .environmentInspect(CapabilityHandle(rawValue: a))
    case EXO_CALL_environment_wait.rawValue: self = .environmentWait(CapabilityHandle(rawValue: a))
    case EXO_CALL_page_vector.rawValue:
      guard let operation = PageOperation(rawValue: a), c <= UInt64(EXO_VECTOR_LIMIT) else { throw .invalid }
      self = .pageVector(operation, address: GuestAddress(b), count: Int(c))
    case EXO_CALL_guarantee.rawValue:
      guard c <= 1 else { throw .invalid }
      self = .guarantee(address: try Self.mappable(a, pages: b), pages: try Self.pages(b), pinned: c == 1)
    case EXO_CALL_region_create.rawValue:
      guard a > 0, a <= UInt64(Region.sizeLimit), c <= UInt64(Rule.instructionLimit * 8) else {
        throw .invalid
      }
      self = .regionCreate(size: Int(a), rule: GuestAddress(b), length: Int(c))
    case EXO_CALL_region_access.rawValue:
      guard let operation = Region.Operation(rawValue: b) else { throw .invalid }
      guard c <= UInt64(Region.sizeLimit), e <= UInt64(Region.sizeLimit) else { throw .outOfRange }
      self = .regionAccess(
        CapabilityHandle(rawValue: a), operation, offset: Int(c), address: GuestAddress(d), length: Int(e))
    case EXO_CALL_event_bind.rawValue:
      guard a != 0 else {
        self = .eventUnbind
        return
      }
      try Self.checkHandler(a, stackTop: b)
      guard let kinds = Event.Kinds(bits: c) else { throw .invalid }
      self = .eventBind(handler: GuestAddress(a), stackTop: GuestAddress(b), kinds: kinds)
    case EXO_CALL_event_post.rawValue: self = .eventPost(CapabilityHandle(rawValue: a), value: b)
    case EXO_CALL_timer_set.rawValue: self = .timerSet(a)
    case EXO_CALL_slices_allocate.rawValue:
      guard a < 1024, c > 0, c <= UInt64(SliceVector.count) else { throw .invalid }
      guard b == .max || b <= UInt64(SliceVector.count) && b + c <= UInt64(SliceVector.count) else {
        throw .invalid
      }
      self = .slicesAllocate(processor: Int(a), first: b == .max ? nil : Int(b), count: Int(c))
    case EXO_CALL_slices_bind.rawValue:
      guard b <= UInt64(SliceVector.count), c > 0, c <= UInt64(SliceVector.count) else { throw .outOfRange }
      self = .slicesBind(
        CapabilityHandle(rawValue: a), first: Int(b), count: Int(c),
        environment: CapabilityHandle(rawValue: d))
    case EXO_CALL_system_call_bind.rawValue:
      guard a < UInt64(EXO_USER_LIMIT) else { throw .badAddress }
      self = .systemCallBind(handler: a == 0 ? nil : GuestAddress(a))
    case EXO_CALL_transfer_bind.rawValue:
      guard a < UInt64(EXO_USER_LIMIT) else { throw .badAddress }
      self = .transferBind(a == 0 ? nil : GuestAddress(a))
    case EXO_CALL_gate_create.rawValue: self = .gateCreate
    case EXO_CALL_gate_connect.rawValue: self = .gateConnect(CapabilityHandle(rawValue: a))
    case EXO_CALL_gate_disconnect.rawValue: self = .gateDisconnect(try Self.connection(a))
    case EXO_CALL_gate_signal.rawValue: self = .gateSignal(try Self.connection(a))
    case EXO_CALL_gate_deadline.rawValue: self = .gateDeadline(a)
    case EXO_CALL_revoke_request.rawValue:
      guard let kind = UInt32(exactly: b).flatMap({ Resource.Kind(rawValue: $0) }),
        Revocation.isRevocable(kind),
        c > 0, c <= 1 << 32
      else { throw .invalid }
      self = .revokeRequest(CapabilityHandle(rawValue: a), kind: kind, amount: c, deadline: d)
    case EXO_CALL_predicate_bind.rawValue:
      guard b <= UInt64(Rule.instructionLimit * 8) else { throw .invalid }
      self = .predicateBind(
        rule: GuestAddress(a), length: Int(b), page: b == 0 ? GuestAddress(0) : try Self.mappable(c, pages: 1)
      )
    case EXO_CALL_packet_ring_bind.rawValue:
      guard b >= UInt64(EXO_PACKET_SLOTS_LEAST), b <= UInt64(EXO_PACKET_SLOTS), b & (b - 1) == 0 else {
        throw .invalid
      }
      let pages = UInt64(PacketRing.pages(slots: Int(b)))
      self = .packetRingBind(try Self.mappable(a, pages: pages), slots: Int(b))
    case EXO_CALL_packet_ring_unbind.rawValue: self = .packetRingUnbind(try Self.packetRing(a))
    case EXO_CALL_filter_install.rawValue: self = .filterInstall(GuestAddress(a))
    case EXO_CALL_transmit_derive.rawValue:
      guard c <= UInt64(EXO_FILTER_STEPS) else { throw .invalid }
      self = .transmitDerive(CapabilityHandle(rawValue: a), steps: GuestAddress(b), count: Int(c))
    case EXO_CALL_transmit_bind.rawValue:
      self = .transmitBind(CapabilityHandle(rawValue: a), ring: try Self.packetRing(b))
    case EXO_CALL_handler_bind.rawValue:
      guard c <= UInt64(PacketHandler.instructionLimit * 8) else { throw .invalid }
      self = .handlerBind(
        CapabilityHandle(rawValue: a), program: GuestAddress(b), length: Int(c),
        region: try Self.region(d, e, isUnbinding: c == 0))
    case EXO_CALL_packet_send.rawValue: self = .packetSend(ring: try Self.packetRing(a))
    default: throw .noSuchCall
    }
  }

  /// Of a handler; without a capability there is none.
  private static func region(
    _ handle: UInt64, _ place: UInt64, isUnbinding: Bool
  ) throws(Refusal) -> Kernel.RegionDescription? {
    guard handle != 0 else {
      guard place == 0 else { throw .invalid }
      return nil
    }
    let pages = Int(place >> 32)
    guard !isUnbinding, 1...HandlerRegion.pageLimit ~= pages else { throw .invalid }
    return Kernel.RegionDescription(
      handle: CapabilityHandle(rawValue: handle), first: Int(place & 0xffff_ffff), pages: pages)
  }
  private static func packetRing(_ raw: UInt64) throws(Refusal) -> Int {
    guard raw < UInt64(EXO_PACKET_RINGS) else { throw .absent }
    return Int(raw)
  }
  private static func connection(_ raw: UInt64) throws(Refusal) -> Int {
    guard raw < UInt64(TransferPage.connections) else { throw .absent }
    return Int(raw)
  }

  /// A handler in the user half, and a push range wholly in it and outside the kit.
  private static func checkHandler(_ handler: UInt64, stackTop: UInt64) throws(Refusal) {
    guard handler < UInt64(EXO_USER_LIMIT), stackTop & 15 == 0, stackTop >= UInt64(EXO_USER_FLOOR) + 4096,
      stackTop <= exo_kit_start
    else { throw .badAddress }
  }

  /// One entry of a page vector, as the call it stands for.
  init(_ operation: PageOperation, _ entry: exo_page_operation) throws(Refusal) {
    let pages = UInt64(entry.pages)
    switch operation {
    case .map:
      self = .map(
        capability: CapabilityHandle(rawValue: entry.capability), offset: try Self.offset(entry.first),
        address: try Self.mappable(entry.address, pages: pages), pages: try Self.pages(pages),
        rights: try Self.rights(UInt64(entry.rights) & ~UInt64(EXO_MAP_HUGE)),
        huge: UInt64(entry.rights) & UInt64(EXO_MAP_HUGE) != 0)
    case .unmap:
      self = .unmap(address: try Self.mappable(entry.address, pages: pages), pages: try Self.pages(pages))
    case .protect:
      self = .protect(
        address: try Self.mappable(entry.address, pages: pages), pages: try Self.pages(pages),
        rights: try Self.rights(UInt64(entry.rights)))
    }
  }

  private static func offset(_ raw: UInt64) throws(Refusal) -> Int {
    guard raw <= 1 << 32 else { throw .outOfRange }
    return Int(raw)
  }
  private static func capabilityRights(_ raw: UInt64) throws(Refusal) -> CapabilityRights {
    guard raw < 1 << 9 else { throw .invalid }
    return CapabilityRights(rawValue: UInt32(raw))
  }

  private static func consoleLength(_ raw: UInt64) throws(Refusal) -> Int {
    guard raw <= UInt64(consoleLimit) else { throw .invalid }
    return Int(raw)
  }
  private static func pages(_ raw: UInt64) throws(Refusal) -> Int {
    guard raw > 0, raw <= UInt64(pageLimit) else { throw .invalid }
    return Int(raw)
  }
  private static func rights(_ raw: UInt64) throws(Refusal) -> Rights {
    guard raw <= UInt64(Rights.all.rawValue) else { throw .invalid }
    return Rights(rawValue: UInt32(raw))
  }
  private static func vector(_ raw: UInt64) throws(Refusal) -> ExceptionVector {
    guard raw < 32, ExceptionVector(UInt8(raw)).isBindable else { throw .invalid }
    return ExceptionVector(UInt8(raw))
  }
  /// Page aligned, in the user half, and clear of the kit.
  private static func mappable(_ raw: UInt64, pages: UInt64) throws(Refusal) -> GuestAddress {
    let address = GuestAddress(raw)
    guard pages <= UInt64(pageLimit), AddressSpace.isUserRange(address, pages: Int(pages)) else {
      throw .invalid
    }
    let end = raw + pages << 12
    guard end <= exo_kit_start || raw >= exo_kit_end else { throw .invalid }
    return address
  }
}
