import ExoABI
import ExosNetwork
import HostileSupport
import LibOS

/// Attacks on claims, on who may send what, and on packet rings. The victim is a child that has claimed something.
extension Attack {
  static var packets: [Attack] {
    [packetClaims, packetSources, packetRings, packetHandlers, packetRegions, packetHoard]
  }

  /// Filters that are none, wider than what they are made under, under what is no filter, or that overlap.
  static var packetClaims: Attack {
    Attack("packet-claims", "Installs forged, overlapping and over-wide filters.") {
      let net = Net()
      var numbers = Numbers(state: 11)
      let claim = net.claim
      // Descriptions of nothing: whatever is in them, it is refused or within what may be claimed, and the call returns.
      for _ in 0..<5000 {
        claim.initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<exo_claim>.size)
        net.prepare([])
        let steps = Int(numbers.next() % 40)
        claim.storeBytes(of: UInt32(steps), toByteOffset: 44, as: UInt32.self)
        for index in 0..<min(steps, 32) {
          let random = numbers.next()
          claim.storeBytes(
            of: exo_filter_step(
              operation: UInt8(random % 7), width: UInt8(random >> 8 & 7),
              offset: UInt16(truncatingIfNeeded: random >> 16 & 0xfff),
              mask: UInt32(truncatingIfNeeded: random >> 32),
              value: UInt32(truncatingIfNeeded: numbers.next() & 31)),
            toByteOffset: 48 + index * 12, as: exo_filter_step.self)
        }
        let result = exocall(EXO_CALL_filter_install, net.address)
        if result > 0 {
          expect(exocall(EXO_CALL_capability_drop, UInt64(result)) == 0, "a claim cannot be dropped")
        } else {
          expectRefused(result, EXO_EINVAL, EXO_ENOSPC, for: "a random filter")
        }
      }
      for address in [0, 8, exo_kit_doorbell, exo_nucleus_text, exo_kit_end, 0x8000_0000_0000, .max] {
        expectRefused(exocall(EXO_CALL_filter_install, address), EXO_EFAULT, for: "a claim at \(address)")
      }
      // Under what is no filter, or not one's own.
      for parent in [0, 1, .max, net.authority.transmit.handle, UInt64(1) << 32] {
        net.prepare([], parent: parent)
        expectRefused(
          exocall(EXO_CALL_filter_install, net.address), EXO_EBADF, EXO_ESTALE, for: "under \(parent)")
      }
      for ring: UInt32 in [1, 7, 8, .max] {
        net.prepare([], ring: ring)
        expectRefused(exocall(EXO_CALL_filter_install, net.address), EXO_ENOENT, for: "for ring \(ring)")
      }
      // Wider than the claim it is made under, by way of every step of it.
      let own = PacketFilter.to(net.authority.station).udp(port: 7).steps
      net.prepare(own)
      let narrow = exocall(EXO_CALL_filter_install, net.address)
      expect(narrow > 0, "a claim is refused: \(narrow)")
      for left in 0..<own.count where own[left].operation == UInt8(EXO_FILTER_COMPARE) {
        var steps = own
        steps.remove(at: left)
        net.prepare(steps, parent: UInt64(narrow))
        expectRefused(exocall(EXO_CALL_filter_install, net.address), EXO_EPERM, for: "without step \(left)")
      }
      // More rights than it had, and what a consent is not.
      expectRefused(
        exocall(EXO_CALL_capability_derive, UInt64(narrow), 0, 0, UInt64(EXO_RIGHT_DELIVER | EXO_WRITE)),
        EXO_EPERM,
        for: "rights that a filter has not")
      let reduced = exocall(EXO_CALL_capability_derive, UInt64(narrow), 0, 0, UInt64(EXO_RIGHT_INSPECT))
      net.prepare(own, parent: UInt64(reduced))
      expectRefused(
        exocall(EXO_CALL_filter_install, net.address), EXO_EPERM,
        for: "under a claim that may only be looked at")
    }
  }

  /// Templates that become wider, and packets that no template allows.
  static var packetSources: Attack {
    Attack("packet-sources", "Sends packets from addresses that are not its own.") {
      let net = Net()
      net.prepare(PacketFilter.everything.steps)
      expect(exocall(EXO_CALL_filter_install, net.address) > 0, "nothing can be claimed")
      let other = try? PacketRing(slots: 8)
      guard let other else { unable("no second ring") }
      let template = net.authority.transmit
      expect((try? other.allow(template)) != nil, "its own template is refused")
      // Any source but its own.
      var numbers = Numbers(state: 12)
      for round in 0..<2000 {
        var frame = [UInt8](repeating: 0, count: 60)
        for index in 0..<14 { frame[index] = UInt8(truncatingIfNeeded: numbers.next()) }
        if round % 2 == 0 {
          // All of its own but one bit.
          for index in 0..<6 {
            frame[6 + index] = UInt8(truncatingIfNeeded: net.authority.station.bits >> UInt64(40 - index * 8))
          }
          frame[6 + Int(numbers.next() % 6)] ^= 1 << UInt8(numbers.next() % 8)
        }
        expect(other.put(frame), "the ring is full")
        let sent = try? other.send()
        expect(sent?.refused == 1, "a forged packet was sent in round \(round)")
      }
      expect(hostile_read32(net.ring + 64) == 0, "a forged packet came")
      for steps in [
        [], PacketFilter.to(net.authority.station).steps, PacketFilter.from(MACAddress(bits: 1)).steps,
      ] {
        net.prepare(steps)
        expectRefused(
          exocall(EXO_CALL_transmit_derive, template.handle, net.address + 48, UInt64(steps.count)),
          EXO_EPERM,
          for: "a wider template")
      }
      for handle in [0, .max, net.authority.filter.handle] {
        expectRefused(
          exocall(EXO_CALL_transmit_bind, handle, 0), EXO_EBADF, EXO_ESTALE, for: "a template \(handle)")
      }
      for ring: UInt64 in [2, 8, .max] {
        expectRefused(exocall(EXO_CALL_transmit_bind, template.handle, ring), EXO_ENOENT, for: "ring \(ring)")
        expectRefused(exocall(EXO_CALL_packet_send, ring), EXO_ENOENT, for: "sending from ring \(ring)")
      }
      expectRefused(exocall(EXO_CALL_transmit_derive, template.handle, 0, 33), EXO_EINVAL, for: "33 steps")
    }
  }

  /// Rings in memory that is not one's own, and rings that say what is not so, while they are used.
  static var packetRings: Attack {
    Attack("packet-rings", "Binds rings where none can be; lies in them, about counts and lengths.") {
      let net = Net()
      for slots: UInt64 in [0, 1, 4, 9, 100, 256, 1 << 32, .max] {
        expectRefused(exocall(EXO_CALL_packet_ring_bind, net.ring, slots), EXO_EINVAL, for: "\(slots) slots")
      }
      for address in [
        0, 1, net.ring + 1, exo_kit_start, exo_kit_completion, exo_kit_trap, exo_kit_doorbell,
        exo_nucleus_data, exo_kit_tables,
        0x8000_0000_0000, .max, Place.scratch + 0x40_0000,
      ] {
        expectRefused(
          exocall(EXO_CALL_packet_ring_bind, address, 8), EXO_EINVAL, EXO_EFAULT, EXO_EPERM, EXO_ENOENT,
          for: "a ring at \(address)")
      }
      // What it is in stays.
      expectRefused(exocall(EXO_CALL_unmap, net.ring, 1), EXO_EBUSY, for: "unmapping a ring")
      expectRefused(exocall(EXO_CALL_protect, net.ring, 1, Allow.read), EXO_EBUSY, for: "protecting a ring")
      expectRefused(exocall(EXO_CALL_frame_free, net.pages.capability), EXO_EBUSY, for: "freeing a ring")

      net.prepare(PacketFilter.everything.steps)
      expect(exocall(EXO_CALL_filter_install, net.address) > 0, "nothing can be claimed")
      expect(
        exocall(EXO_CALL_transmit_bind, net.authority.transmit.handle, 0) == 0, "its own template is refused")
      var numbers = Numbers(state: 13)
      for round in 0..<20_000 {
        let random = numbers.next()
        let value = random & 1 == 0 ? UInt32(truncatingIfNeeded: random >> 8) : UInt32(random >> 8 & 15)
        hostile_write32(net.ring + (random >> 40) % (2176 / 4) * 4, value)
        if round % 4 == 0 {
          let taken = exocall(EXO_CALL_packet_send, 0)
          expect(taken >= 0 && taken <= 8, "\(taken) packets of a ring of 8")
        }
      }
      // Bound and unbound while there is something in it.
      for _ in 0..<200 {
        hostile_write32(net.ring + 4, UInt32(truncatingIfNeeded: numbers.next()))
        expect(exocall(EXO_CALL_packet_ring_unbind, 0) == 0, "unbinding is refused")
        expectRefused(exocall(EXO_CALL_packet_send, 0), EXO_ENOENT, for: "sending from no ring")
        expect(exocall(EXO_CALL_packet_ring_bind, net.ring, 8) == 0, "binding again is refused")
      }
      // And after all that one that behaves works.
      expect(exocall(EXO_CALL_packet_ring_unbind, 0) == 0, "unbinding is refused")
      guard let a = try? PacketRing(slots: 8), let b = try? PacketRing(slots: 8) else { unable("no rings") }
      expect((try? a.allow(net.authority.transmit)) != nil, "its own template is refused")
      expect((try? b.claim(.everything, under: net.authority.filter)) != nil, "nothing can be claimed")
      var frame = [UInt8](repeating: 0, count: 60)
      for index in 0..<6 {
        frame[6 + index] = UInt8(truncatingIfNeeded: net.authority.station.bits >> UInt64(40 - index * 8))
      }
      expect(a.put(frame), "the ring is full")
      expect((try? a.send())?.taken == 1 && b.receive() == frame, "a packet is lost")
    }
  }

  /// Programs that are none, that read and write where nothing is, that speak for others, and that answer themselves.
  static var packetHandlers: Attack {
    Attack("packet-handlers", "Binds random and forging handlers and has packets come to them.") {
      let net = Net()
      net.prepare(PacketFilter.to(net.authority.station).steps)
      let claim = exocall(EXO_CALL_filter_install, net.address)
      expect(claim > 0, "its own packets cannot be claimed: \(claim)")
      expect(
        exocall(EXO_CALL_transmit_bind, net.authority.transmit.handle, 0) == 0, "its own template is refused")
      guard let sender = try? PacketRing(slots: 8) else { unable("no second ring") }
      expect((try? sender.allow(net.authority.transmit)) != nil, "its own template is refused")
      var frame = [UInt8](repeating: 0, count: 80)
      for index in 0..<6 {
        let byte = UInt8(truncatingIfNeeded: net.authority.station.bits >> UInt64(40 - index * 8))
        (frame[index], frame[6 + index]) = (byte, byte)
      }
      var numbers = Numbers(state: 17)
      let program = net.claim.assumingMemoryBound(to: UInt8.self)
      var bound = 0
      for round in 0..<6000 {
        let count = 1 + Int(numbers.next() % 20)
        for index in 0..<count {
          let random = numbers.next()
          let operation =
            index == count - 1 && random % 8 != 0 ? 21 : UInt8(truncatingIfNeeded: random >> 8) % 28
          let bytes = program + index * 8
          bytes[0] = operation
          for place in 1..<4 {
            bytes[place] =
              UInt8(truncatingIfNeeded: random >> UInt64(place * 8 + 8)) % (random & 63 == 0 ? 12 : 8)
          }
          let far = random >> 60 == 0
          let immediate =
            operation == 19
            ? UInt32(random >> 40) % 4
            : far ? UInt32(truncatingIfNeeded: numbers.next()) : UInt32(random >> 40) % 96
          for place in 0..<4 { bytes[4 + place] = UInt8(truncatingIfNeeded: immediate >> UInt32(place * 8)) }
        }
        let answer = exocall(
          RingRequest(EXO_CALL_handler_bind.rawValue, UInt64(claim), net.address, UInt64(count * 8)))
        if answer.result < 0 {
          expectRefused(answer.result, EXO_EINVAL, for: "a random program")
          expect(
            answer.values.0 >= 1 && answer.values.0 <= 7 && answer.values.1 < UInt64(count),
            "instruction \(answer.values.1) of \(count) for reason \(answer.values.0)")
          continue
        }
        bound += 1
        expect(sender.put(frame), "the ring is full")
        let sent = try? sender.send()
        expect(sent?.taken == 1, "a packet is lost in round \(round)")
        // Whatever came back speaks for nobody else.
        while let reply = sender.receive() {
          for index in 0..<6 {
            expect(reply[6 + index] == frame[6 + index], "a forged reply in round \(round)")
          }
        }
        hostile_write32(net.ring, hostile_read32(net.ring + 64))
      }
      expect(bound > 500, "only \(bound) programs were accepted")
      for length: UInt64 in [1, 7, 9] {
        expectRefused(
          exocall(EXO_CALL_handler_bind, UInt64(claim), net.address, length), EXO_EINVAL,
          for: "\(length) bytes")
      }
      for length: UInt64 in [257 * 8, 1 << 32, .max] {
        expectRefused(
          exocall(EXO_CALL_handler_bind, UInt64(claim), net.address, length), EXO_EINVAL,
          for: "\(length) bytes")
      }
      for address in [0, exo_nucleus_text, exo_kit_doorbell, .max] {
        expectRefused(
          exocall(EXO_CALL_handler_bind, UInt64(claim), address, 64), EXO_EFAULT,
          for: "a program at \(address)")
      }
      for handle in [0, .max, net.authority.transmit.handle] {
        expectRefused(
          exocall(EXO_CALL_handler_bind, handle, net.address, 8), EXO_EBADF, EXO_ESTALE,
          for: "handle \(handle)")
      }
      expectRefused(
        exocall(EXO_CALL_handler_bind, net.authority.filter.handle, net.address, 0), EXO_ENOENT,
        for: "a handler for what is only authority")
    }
  }

  /// As many claims, templates and rings as there are to be had: its quota ends that, and nobody else's.
  static var packetHoard: Attack {
    Attack("packet-hoard", "Makes claims, templates and rings without end.") {
      let net = Net()
      var made = 0
      while true {
        net.prepare(PacketFilter.everything.udp(port: UInt16(truncatingIfNeeded: made)).steps)
        let result = exocall(EXO_CALL_filter_install, net.address)
        if result < 0 {
          expectRefused(result, EXO_EDQUOT, for: "a claim")
          break
        }
        made += 1
        expect(made < 10_000, "there is no end to claims")
      }
      net.prepare(PacketFilter.from(net.authority.station).steps)
      expectRefused(
        exocall(EXO_CALL_transmit_derive, net.authority.transmit.handle, net.address + 48, 2), EXO_EDQUOT,
        for: "a template")
      expect(exocall(EXO_CALL_packet_ring_unbind, 0) == 0, "unbinding is refused")
      let rings = Pages(9 * 9).map(at: Place.scratch + 0x80_0000)
      for number in 0..<UInt64(EXO_PACKET_RINGS) {
        expect(
          exocall(EXO_CALL_packet_ring_bind, Place.scratch + 0x80_0000 + number * 9 * 4096, 8)
            == Int64(number),
          "ring \(number) is refused")
      }
      expectRefused(
        exocall(EXO_CALL_packet_ring_bind, Place.scratch + 0x80_0000 + 8 * 9 * 4096, 8), EXO_ENOSPC,
        for: "a ring too many")
      expect(rings.count == 81, "pages went missing")
    }
  }
}

/// What an attack on packets needs: a ring, number 0, and room for a claim.
struct Net {
  let authority: NetworkAuthority
  let ring = Place.scratch
  let pages: Pages
  let claim = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
  var address: UInt64 { UInt64(UInt(bitPattern: claim)) }

  init() {
    guard let authority = NetworkAuthority.own else { unable("the machine offers no network") }
    self.authority = authority
    pages = Pages(9).map(at: ring)
    let number = exocall(EXO_CALL_packet_ring_bind, ring, 8)
    if number != 0 { unable("no packet ring: \(number)") }
  }

  /// Writes a claim.
  func prepare(_ steps: [exo_filter_step], parent: UInt64? = nil, ring: UInt32 = 0) {
    claim.initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<exo_claim>.size)
    claim.storeBytes(of: parent ?? authority.filter.handle, as: UInt64.self)
    claim.storeBytes(of: ring, toByteOffset: 40, as: UInt32.self)
    claim.storeBytes(of: UInt32(steps.count), toByteOffset: 44, as: UInt32.self)
    for (index, step) in steps.enumerated() {
      claim.storeBytes(of: step, toByteOffset: 48 + index * 12, as: exo_filter_step.self)
    }
  }
}
