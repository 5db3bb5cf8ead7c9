import ExoABI

@testable import Exo

/// Environments on a network with nothing running: what they write in their memory, the exocalls they make, what they find.
final class NetworkBench {
  let bench: KernelBench
  init(frames: Int = 768) throws { bench = try KernelBench(frames: frames) }

  var network: Network { bench.kernel.network }
  var problems: [String] { bench.kernel.checkInvariants(contentOf: { _ in false }) }

  /// An environment and one packet ring of its own.
  final class Station {
    let bench: NetworkBench
    let id: EnvironmentID
    /// Of what it may claim and send at most.
    let filter: CapabilityHandle
    let transmit: CapabilityHandle
    let address: UInt64
    private(set) var submitted: UInt32 = 0
    private(set) var taken: UInt32 = 0
    static let slots = 8
    static let low = exo_stack_top - UInt64(EXO_STACK_PAGES) << 12
    static let scratch = low + 40 << 12

    init(_ bench: NetworkBench, id: EnvironmentID, claim: Filter = .everything, sources: [Filter]) throws {
      self.bench = bench
      self.id = id
      filter = try bench.bench.kernel.admit(id, .filter, [claim])
      transmit = try bench.bench.kernel.admit(id, .transmit, sources)
      address = Self.low
      try bench.bench.call(EXO_CALL_packet_ring_bind, address, UInt64(Self.slots), by: id)
      try bench.bench.call(EXO_CALL_transmit_bind, transmit.rawValue, 0, by: id)
    }

    func place(_ address: UInt64) -> PhysicalAddress {
      let page = bench.bench.entry(address & ~0xfff, of: id).address
      return PhysicalAddress(page.value + address & 0xfff)
    }
    func write(_ bytes: [UInt8], at address: UInt64) {
      for (index, byte) in bytes.enumerated() {
        bench.bench.kernel.memory.write([byte][...], at: place(address + UInt64(index)))
      }
    }
    func load(_ address: UInt64) -> UInt32 { bench.bench.kernel.memory.load32(place(address)) }
    func store(_ value: UInt32, _ address: UInt64) {
      bench.bench.kernel.memory.store32(value, place(address))
    }

    /// Writes a claim and makes the call.
    @discardableResult
    func claim(
      _ filter: Filter, under parent: CapabilityHandle? = nil, consents: [CapabilityHandle] = [],
      ring: UInt32 = 0
    ) throws -> CapabilityHandle {
      var bytes = Self.bytes((parent ?? self.filter).rawValue)
      for index in 0..<Int(EXO_CLAIM_CONSENTS) {
        bytes += Self.bytes(index < consents.count ? consents[index].rawValue : 0)
      }
      let steps = Self.described(filter)
      bytes += Self.bytes(ring) + Self.bytes(UInt32(steps.count / 12)) + steps
      write(bytes, at: Self.scratch)
      let answer = try bench.bench.call(EXO_CALL_filter_install, Self.scratch, by: id)
      return CapabilityHandle(rawValue: UInt64(bitPattern: answer.result))
    }

    func derive(_ filter: Filter, from parent: CapabilityHandle? = nil) throws -> CapabilityHandle {
      let steps = Self.described(filter)
      write(steps, at: Self.scratch)
      let answer = try bench.bench.call(
        EXO_CALL_transmit_derive, (parent ?? transmit).rawValue, Self.scratch, UInt64(steps.count / 12),
        by: id)
      return CapabilityHandle(rawValue: UInt64(bitPattern: answer.result))
    }

    /// As `struct exo_filter_step`.
    static func described(_ filter: Filter) -> [UInt8] {
      filter.steps.flatMap { step -> [UInt8] in
        switch step {
        case .compare(let field, let value) where field.isProtocol:
          return self.step(EXO_FILTER_PROTOCOL, 1, 0, field.mask, value)
        case .compare(let field, let value):
          return self.step(EXO_FILTER_COMPARE, field.width, field.offset, field.mask, value)
        case .advance(.headerLength(let offset, let mask, let shift)):
          return self.step(
            EXO_FILTER_HEADER, 0, offset, UInt32(mask), UInt32(bitPattern: Int32(shift)))
        case .advance(.vlanTags(let offset)): return self.step(EXO_FILTER_TAGS, 0, offset, 0, 0)
        case .advance(.extensionHeaders(let offset)): return self.step(EXO_FILTER_EXTENSIONS, 0, offset, 0, 0)
        }
      }
    }
    static func step(_ operation: Int32, _ width: Int, _ offset: Int, _ mask: UInt32, _ value: UInt32)
      -> [UInt8]
    {
      [UInt8(operation), UInt8(width)] + bytes(UInt16(offset)) + bytes(mask) + bytes(value)
    }
    static func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
      (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> T($0 * 8)) }
    }

    // --- packets

    private func buffer(_ count: UInt32, sending: Bool) -> UInt64 {
      let half = UInt64(count % UInt32(Self.slots)) + (sending ? UInt64(Self.slots) : 0)
      return address + 4096 + half * 2048
    }
    /// Puts a packet into the next slot without saying so to anybody.
    func put(_ packet: [UInt8], length: UInt32? = nil) {
      write(packet, at: buffer(submitted, sending: true))
      let descriptor = address + 128 + 1024 + UInt64(submitted % UInt32(Self.slots)) * 8
      store(length ?? UInt32(packet.count), descriptor)
      submitted &+= 1
    }
    func send(_ packets: [UInt8]...) throws -> Network.Sent {
      for packet in packets { put(packet) }
      store(submitted, address + 4)
      return try bench.network.send(0, of: id)
    }
    /// What came since the last time, with the number of the filter.
    func receive() -> [(bytes: [UInt8], filter: UInt32)] {
      var found: [(bytes: [UInt8], filter: UInt32)] = []
      while load(address + 64) != taken {
        let descriptor = address + 128 + UInt64(taken % UInt32(Self.slots)) * 8
        var bytes: [UInt8] = []
        bench.bench.kernel.memory.appendBytes(
          place(buffer(taken, sending: false)), count: Int(load(descriptor)), to: &bytes)
        found.append((bytes, load(descriptor + 4)))
        taken &+= 1
      }
      store(taken, address)
      return found
    }
  }

  static func address(_ number: UInt8) -> MACAddress { MACAddress(2, 0, 0, 0, 0, number) }

  /// A station that may send from its own address only.
  func station(_ number: UInt8, claim: Filter = .everything) throws -> Station {
    try Station(
      self, id: bench.domain(), claim: claim, sources: [Filter.ethernet.from(Self.address(number)).filter])
  }

  /// An Ethernet frame, IPv4 and UDP, without checksums: nobody here looks at them.
  static func packet(from: UInt8, to: UInt8, port: UInt16 = 7, _ payload: [UInt8] = [1, 2, 3]) -> [UInt8] {
    func six(_ number: UInt8) -> [UInt8] { [2, 0, 0, 0, 0, number] }
    let ip: [UInt8] = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, to]
    let udp: [UInt8] = [0x30, 0x39, UInt8(port >> 8), UInt8(port & 0xff), 0, 8, 0, 0]
    return six(to) + six(from) + [8, 0] + ip + udp + payload
  }
}
