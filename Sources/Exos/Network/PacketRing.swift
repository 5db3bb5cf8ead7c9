#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// Packets in and out of memory that this environment shares with the exokernel. To receive takes no call; to send takes one
  /// for as many packets as the ring holds.
  public final class PacketRing {
    public let number: UInt64
    private let base: UInt64
    private let slots: UInt32
    private var taken: UInt32 = 0
    private var submitted: UInt32 = 0

    /// Where rings lie, a mebibyte each: no heap and no image is there.
    nonisolated(unsafe) private static var next: UInt64 = 0x6100_0000_0000

    /// Makes a ring and binds it.
    /// - Parameter slots: packets each way: a power of two from 8 to 128.
    /// - Throws: see `packet_ring_bind` in docs/exocalls.md; `outOfMemory`.
    public init(slots: UInt32 = 64) throws(ExocallError) {
      let base = Self.next
      Self.next += 1 << 20
      let pages = UInt64(slots) + 1
      var mapped: UInt64 = 0
      while mapped < pages {
        let grant = try Exocall.frameAllocate(count: pages - mapped)
        try Exocall.map(
          grant.capability, page: 0, at: base + mapped << 12, pages: grant.count, rights: [.read, .write])
        mapped += grant.count
      }
      let answer = try Exocall.make(
        RingRequest(EXO_CALL_packet_ring_bind.rawValue, base, UInt64(slots)))
      number = UInt64(answer.result)
      self.base = base
      self.slots = slots
    }

    /// Unbinds it: nothing more comes, and what it claimed is anybody's.
    public func close() throws(ExocallError) {
      _ = try Exocall.make(RingRequest(EXO_CALL_packet_ring_unbind.rawValue, number))
    }

    // --- authority

    /// Claims what a filter matches for this ring.
    /// - Parameters:
    ///   - filter: what is claimed.
    ///   - parent: of a filter that matches all of that, with the right `call`.
    ///   - consents: to claims of others that it may overlap; at most four.
    /// - Returns: the claim: to drop it is to give it up.
    /// - Throws: `exists` if somebody else has claimed some of it; see `filter_install` in docs/exocalls.md.
    @discardableResult
    public func claim(
      _ filter: PacketFilter, under parent: Capability, consents: [Capability] = []
    ) throws(ExocallError) -> Capability {
      let size = MemoryLayout<exo_claim>.size
      let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 8)
      defer { memory.deallocate() }
      memory.initializeMemory(as: UInt8.self, repeating: 0, count: size)
      memory.storeBytes(of: parent.handle, as: UInt64.self)
      for (index, consent) in consents.prefix(Int(EXO_CLAIM_CONSENTS)).enumerated() {
        memory.storeBytes(of: consent.handle, toByteOffset: 8 + index * 8, as: UInt64.self)
      }
      let tail = 8 + Int(EXO_CLAIM_CONSENTS) * 8
      memory.storeBytes(of: UInt32(number), toByteOffset: tail, as: UInt32.self)
      memory.storeBytes(of: UInt32(filter.steps.count), toByteOffset: tail + 4, as: UInt32.self)
      for (index, step) in filter.steps.prefix(Int(EXO_FILTER_STEPS)).enumerated() {
        memory.storeBytes(of: step, toByteOffset: tail + 8 + index * 12, as: exo_filter_step.self)
      }
      let answer = try Exocall.make(
        RingRequest(EXO_CALL_filter_install.rawValue, UInt64(UInt(bitPattern: memory))))
      return Capability(handle: UInt64(bitPattern: answer.result))
    }

    /// Makes a template that allows less than another one, for a ring of one's own or somebody else's.
    /// - Throws: see `transmit_derive` in docs/exocalls.md.
    public static func narrow(_ template: Capability, to filter: PacketFilter) throws(ExocallError)
      -> Capability
    {
      let steps = filter.steps
      let answer = try steps.withUnsafeBufferPointer { (buffer) throws(ExocallError) in
        try Exocall.make(
          RingRequest(
            EXO_CALL_transmit_derive.rawValue, template.handle,
            UInt64(UInt(bitPattern: buffer.baseAddress)), UInt64(buffer.count)))
      }
      return Capability(handle: UInt64(bitPattern: answer.result))
    }

    /// Lets this ring send what a template matches.
    /// - Throws: see `transmit_bind` in docs/exocalls.md.
    public func allow(_ template: Capability) throws(ExocallError) {
      _ = try Exocall.make(RingRequest(EXO_CALL_transmit_bind.rawValue, template.handle, number))
    }

    /// Frames that a handler reads and writes: `pages` of a capability's, from `first` on, at most `EXO_HANDLER_REGION_PAGES`.
    /// The handler ends with the capability.
    public struct HandlerRegion {
      public var capability: Capability
      public var first: UInt64
      public var pages: UInt64
      public init(_ capability: Capability, first: UInt64 = 0, pages: UInt64 = 1) {
        (self.capability, self.first, self.pages) = (capability, first, pages)
      }
    }

    /// Has the exokernel run a program on what a claim of this environment's matches; nil for none.
    /// - Throws: `invalid` for what is no program; see `handler_bind` in docs/exocalls.md.
    public static func handle(
      _ claim: Capability, by program: HandlerProgram?, region: HandlerRegion? = nil
    ) throws(ExocallError) {
      let bytes = program?.bytes ?? []
      _ = try bytes.withUnsafeBufferPointer { (buffer) throws(ExocallError) in
        try Exocall.make(
          RingRequest(
            EXO_CALL_handler_bind.rawValue, claim.handle, UInt64(UInt(bitPattern: buffer.baseAddress)),
            UInt64(buffer.count), region?.capability.handle ?? 0,
            region.map { $0.first | $0.pages << 32 } ?? 0))
      }
    }

    // --- packets

    private func buffer(_ count: UInt32, sending: Bool) -> UnsafeMutableRawPointer {
      let half = UInt64(count % slots) + (sending ? UInt64(slots) : 0)
      return UnsafeMutableRawPointer(bitPattern: UInt(base + 4096 + half * UInt64(EXO_PACKET_SIZE)))
        .unsafelyUnwrapped
    }
    private func descriptor(_ count: UInt32, sending: Bool) -> UInt64 {
      base + 128 + (sending ? UInt64(EXO_PACKET_SLOTS) * 8 : 0) + UInt64(count % slots) * 8
    }

    public var hasPackets: Bool { exo_load32(base + 64) != taken }
    /// How many found no room here, ever.
    public var dropped: UInt32 { exo_load32(base + 72) }

    /// Takes the oldest packet; nil if there is none.
    public func receive() -> [UInt8]? {
      guard hasPackets else { return nil }
      let length = min(Int(exo_load32(descriptor(taken, sending: false))), Int(EXO_PACKET_SIZE))
      let bytes = [UInt8](UnsafeRawBufferPointer(start: buffer(taken, sending: false), count: length))
      taken &+= 1
      exo_store32(base, taken)
      return bytes
    }

    /// Puts a packet into the ring; `send` sends it. False if there is no room until then.
    public func put(_ packet: [UInt8]) -> Bool {
      guard submitted &- exo_load32(base + 68) < slots, packet.count <= Int(EXO_PACKET_SIZE) else {
        return false
      }
      packet.withUnsafeBytes { bytes in
        guard let start = bytes.baseAddress else { return }
        buffer(submitted, sending: true).copyMemory(from: start, byteCount: bytes.count)
      }
      exo_store32(descriptor(submitted, sending: true), UInt32(packet.count))
      submitted &+= 1
      exo_store32(base + 4, submitted)
      return true
    }

    /// What became of the packets of one call.
    public struct Sent: Equatable {
      public var taken: Int
      /// Not allowed by any template.
      public var refused: Int
      /// Nobody had room for them, or nobody is there.
      public var dropped: Int
    }

    /// Sends what was put.
    /// - Throws: `noEntry` if the ring is closed.
    @discardableResult
    public func send() throws(ExocallError) -> Sent {
      let answer = try Exocall.make(RingRequest(EXO_CALL_packet_send.rawValue, number))
      return Sent(taken: Int(answer.result), refused: Int(answer.values.0), dropped: Int(answer.values.1))
    }

    /// Has an event posted for the next packet. Whether there is one already has to be asked after this.
    public func wish() { exo_store32(base + 8, 1) }
  }
#endif
