import ExoABI
import ExosNetwork
import HostileSupport
import LibOS

extension Attack {
  /// Handlers that write where they may not: past their region, into frames that cannot be written, that are gone, or that are another's.
  static var packetRegions: Attack {
    Attack(
      "packet-regions", "Has handlers write outside of what they were given, and after it was taken back."
    ) {
      let net = Net()
      net.prepare(PacketFilter.to(net.authority.station).steps)
      let claim = exocall(EXO_CALL_filter_install, net.address)
      expect(claim > 0, "its own packets cannot be claimed: \(claim)")
      guard let sender = try? PacketRing(slots: 8) else { unable("no second ring") }
      expect((try? sender.allow(net.authority.transmit)) != nil, "its own template is refused")
      var frame = [UInt8](repeating: 0xee, count: 80)
      for index in 0..<6 {
        let byte = UInt8(truncatingIfNeeded: net.authority.station.bits >> UInt64(40 - index * 8))
        (frame[index], frame[6 + index]) = (byte, byte)
      }
      /// Whether it was delivered.
      func send() -> Bool {
        expect(sender.put(frame), "the ring is full")
        expect((try? sender.send())?.taken == 1, "a packet is lost")
        let arrived = hostile_read32(net.ring + 64)
        defer { hostile_write32(net.ring, arrived) }
        return arrived != hostile_read32(net.ring)
      }
      let code = net.claim.assumingMemoryBound(to: UInt8.self)
      func bind(_ program: HandlerProgram, _ handle: UInt64, first: UInt64 = 0, pages: UInt64 = 1)
        -> RingAnswer
      {
        for (index, byte) in program.bytes.enumerated() { code[index] = byte }
        return exocall(
          RingRequest(
            EXO_CALL_handler_bind.rawValue, UInt64(claim), net.address, UInt64(program.bytes.count), handle,
            first | pages << 32))
      }
      // Three pages, of which the handler gets the middle one.
      let place = Place.scratch + 0x80_0000
      let pages = Pages(3).map(at: place)
      func isAlone() -> Bool {
        for offset: UInt64 in stride(from: 0, to: 4096, by: 8)
        where word(place + offset).pointee != 0 || word(place + 8192 + offset).pointee != 0 {
          return false
        }
        return true
      }
      var copies = HandlerProgram()
      copies.length(into: .r1)
      copies.copyToRegion(.r1, from: .r0, to: .r0)
      copies.deliver(if: .r0)

      // Frames that it may not write, or that are none.
      let readable = exocall(EXO_CALL_capability_derive, pages.capability, 0, 3, UInt64(EXO_READ))
      expect(readable > 0, "deriving is refused: \(readable)")
      expectRefused(bind(copies, UInt64(readable)).result, EXO_EPERM, for: "a region that can only be read")
      for handle in [net.authority.transmit.handle, UInt64(claim), .max, pages.capability &+ 1 << 40] {
        expectRefused(bind(copies, handle).result, EXO_EBADF, EXO_ESTALE, for: "a region of handle \(handle)")
      }
      for (first, count) in [(0, 4), (3, 1), (0xffff_ffff, 1), (2, 2)] as [(UInt64, UInt64)] {
        expectRefused(
          bind(copies, pages.capability, first: first, pages: count).result, EXO_ERANGE,
          for: "pages \(first) and \(count) more")
      }
      for count in [0, 17, 0xffff_ffff] as [UInt64] {
        expectRefused(bind(copies, pages.capability, pages: count).result, EXO_EINVAL, for: "\(count) pages")
      }

      // Offsets past the ends: refused where it can be seen, else without effect.
      for offset: Int32 in [4093, 4096, .max] {
        var program = HandlerProgram()
        program.storeRegion(4, .r0, at: .r0, plus: offset)
        program.deliver(if: .r0)
        let answer = bind(program, pages.capability, first: 1)
        expect(
          answer.result == -Int64(EXO_EINVAL) && answer.values.0 == UInt64(EXO_HANDLER_BAD_OFFSET)
            && answer.values.1 == 0, "an offset of \(offset): \(answer.result)")
      }
      for offset: Int32 in [4095, 4096, 4017, -1, -80, -4096, .max, .min] {
        var program = HandlerProgram()
        program.length(into: .r1)
        program.set(.r2, to: offset)
        program.copyToRegion(.r1, from: .r0, to: .r2)
        program.deliver(if: .r0)
        expect(bind(program, pages.capability, first: 1).result == 0, "a program is refused")
        expect(send(), "a copy to \(offset) does not fail")
      }
      expect(isAlone() && word(place + 4096).pointee == 0, "a copy past the end left something")
      var numbers = Numbers(state: 23)
      var bound = 0
      for round in 0..<3000 {
        let count = 2 + Int(numbers.next() % 16)
        for index in 0..<count {
          let random = numbers.next()
          let bytes = code + index * 8
          // Most of them of the region.
          bytes[0] =
            index == count - 1 ? 21 : random & 3 != 0 ? UInt8(22 + random >> 8 % 5) : UInt8(random >> 8 % 22)
          for place in 1..<4 { bytes[place] = UInt8(truncatingIfNeeded: random >> UInt64(place * 8 + 8)) % 8 }
          let immediate =
            bytes[0] == 19
            ? 1 : random >> 60 < 4 ? UInt32(truncatingIfNeeded: numbers.next()) : UInt32(random >> 40) % 4100
          for place in 0..<4 { bytes[4 + place] = UInt8(truncatingIfNeeded: immediate >> UInt32(place * 8)) }
        }
        let answer = exocall(
          RingRequest(
            EXO_CALL_handler_bind.rawValue, UInt64(claim), net.address, UInt64(count * 8), pages.capability,
            1 | 1 << 32))
        guard answer.result == 0 else { continue }
        bound += 1
        _ = send()
        while sender.receive() != nil {}
        if round % 64 == 0 { expect(isAlone(), "round \(round) wrote outside of its region") }
      }
      expect(bound > 300, "only \(bound) programs were accepted")
      expect(isAlone(), "a random program wrote outside of its region")

      // Taken back in between.
      let derived = exocall(
        EXO_CALL_capability_derive, pages.capability, 0, 1, UInt64(EXO_READ | EXO_WRITE))
      expect(derived > 0 && bind(copies, UInt64(derived)).result == 0, "its own frames are refused")
      expect(!send() && word(place).pointee != 0, "a handler does not copy")
      expect(exocall(EXO_CALL_capability_revoke, pages.capability) >= 0, "revoking is refused")
      word(place).pointee = 0
      expect(send() && word(place).pointee == 0, "a handler outlives its capability")
      // Freed, and somebody else's: a child's.
      let gone = Pages(1)
      expect(bind(copies, gone.capability).result == 0 && !send(), "its own frames are refused")
      expect(exocall(EXO_CALL_frame_free, gone.capability) == 0, "freeing is refused")
      let again = exocall(RingRequest(EXO_CALL_frame_allocate.rawValue, gone.frame, 1))
      expect(again.result > 0, "the frame is not free")
      let map = exocall(
        EXO_CALL_map, UInt64(again.result), 0, place + 0x10000, 1, UInt64(EXO_READ | EXO_WRITE))
      expect(map == 0 && word(place + 0x10000).pointee == 0, "a frame keeps what a handler wrote")
      expect(send() && word(place + 0x10000).pointee == 0, "a handler writes to frames that were freed")
    }
  }
}
