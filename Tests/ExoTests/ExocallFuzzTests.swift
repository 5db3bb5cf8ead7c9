import ExoABI
import Testing

@testable import Exo

/// Decoding of whatever an environment may throw at it.
@Suite struct ExocallFuzzTests {
  typealias Arguments = (UInt64, UInt64, UInt64, UInt64, UInt64)

  private static func submission(_ call: UInt32, _ arguments: Arguments) -> Submission {
    Submission(tag: 1, arguments: arguments, call: call, consumed: 0)
  }
  private static let page: UInt64 = 0x40_0000
  private static let limit = UInt64(EXO_USER_LIMIT)

  /// What decoding may refuse with is what the table says of the call, and EINVAL.
  @Test func refusalsAreDeclared() {
    let names: [String: Int32] = [
      "EPERM": EXO_EPERM, "ENOENT": EXO_ENOENT, "EIO": EXO_EIO, "EBADF": EXO_EBADF, "EAGAIN": EXO_EAGAIN,
      "ENOMEM": EXO_ENOMEM, "EFAULT": EXO_EFAULT, "EBUSY": EXO_EBUSY, "EEXIST": EXO_EEXIST,
      "EINVAL": EXO_EINVAL, "ENOSPC": EXO_ENOSPC, "EPIPE": EXO_EPIPE, "ERANGE": EXO_ERANGE,
      "ENOSYS": EXO_ENOSYS, "EOPNOTSUPP": EXO_EOPNOTSUPP, "ESTALE": EXO_ESTALE, "EDQUOT": EXO_EDQUOT,
    ]
    var random = SeededGenerator(seed: 99)
    for call in 0..<EXO_CALL_COUNT.rawValue {
      guard let row = exo_describe_call(call), let errors = row.pointee.errors else { continue }
      let declared = Set(String(cString: errors).split(separator: " ").compactMap { names[String($0)] })
      for _ in 0..<3_000 {
        do throws(Refusal) {
          _ = try Exocall(Self.submission(call, Self.arguments(&random)))
        } catch { #expect(error == .invalid || declared.contains(error.code), "call \(call): \(error.code)") }
      }
    }
  }

  private static let interesting: [UInt64] = [
    0, 1, 2, 7, 8, 14, 31, 32, 4095, 4096, 4097, 0xffff, 0x1_0000, 0x1_0001, page, page + 1, page + 16,
    exo_stack_top, exo_kit_start - 4096, exo_kit_start, exo_kit_doorbell, exo_kit_end - 4096, exo_kit_end,
    limit - 4096, limit - 16, limit, limit + 4096, 1 << 32 - 1, 1 << 32, 1 << 51, 1 << 52, 1 << 63,
    exo_nucleus_text, .max - 4095, .max - 1, .max,
  ]

  private static func arguments(_ random: inout SeededGenerator) -> Arguments {
    func one() -> UInt64 {
      let chosen = interesting[Int(random.next() % UInt64(interesting.count))]
      switch random.next() % 8 {
      case 0: return random.next()
      case 1: return random.next() & 0x7fff_ffff_f000
      case 2: return chosen &+ random.next() % 33 &- 16
      default: return chosen
      }
    }
    return (one(), one(), one(), one(), one())
  }

  /// Whatever is decoded keeps the promises that those who carry it out rely on.
  private static func holds(_ call: Exocall) -> Bool {
    func isMappable(_ address: GuestAddress, _ pages: Int) -> Bool {
      let end = address.value + UInt64(pages) << 12
      return AddressSpace.isUserRange(address, pages: pages) && pages <= Exocall.pageLimit
        && (end <= exo_kit_start || address.value >= exo_kit_end)
        && (end <= exo_kit_tables || address.value >= exo_kit_tables_end)
    }
    switch call {
    case .consoleWrite(_, let length), .consoleRead(_, let length):
      return 0...Exocall.consoleLimit ~= length
    case .frameAllocate(_, let count, let alignment):
      return 1...Exocall.pageLimit ~= count && 1...512 ~= alignment && alignment & (alignment - 1) == 0
    case .map(_, let offset, let address, let pages, let rights, _):
      return offset >= 0 && offset <= 1 << 32 && isMappable(address, pages) && rights.isSubset(of: .all)
    case .unmap(let address, let pages): return isMappable(address, pages)
    case .protect(let address, let pages, let rights):
      return isMappable(address, pages) && rights.isSubset(of: .all)
    case .keySet(let address, let pages, let key):
      return isMappable(address, pages) && 0..<Int(EXO_KEYS) ~= key
    case .exceptionBind(let vector, let handler, let top, let withAddress):
      return vector.isBindable && handler.value < limit && top.value % 16 == 0
        && top.value <= exo_kit_start && top.value - UInt64(EXO_EXCEPTION_PUSH) >= UInt64(EXO_USER_FLOOR)
        && (!withAddress || vector == .pageFault)
    case .exceptionUnbind(let vector): return vector.isBindable
    case .capabilityDerive(_, let first, let pages, let rights),
      .capabilityGrant(_, _, let first, let pages, let rights):
      return 0...(1 << 32) ~= first && 0...(1 << 32) ~= pages && rights.rawValue < 1 << 9
    case .environmentMap(_, _, let offset, let address, let pages, let rights):
      return 0..<(1 << 32) ~= offset && isMappable(address, pages) && rights.isSubset(of: .all)
    case .environmentStart(_, let point), .environmentReady(_, let point):
      return point.entry.value < limit && point.stack.value < limit
    case .pageVector(_, _, let count): return 0...Int(EXO_VECTOR_LIMIT) ~= count
    case .guarantee(let address, let pages, _): return isMappable(address, pages)
    case .regionCreate(let size, _, let length):
      return 1...Region.sizeLimit ~= size && 0...Rule.instructionLimit * 8 ~= length
    case .regionAccess(_, _, let offset, _, let length):
      return 0...Region.sizeLimit ~= offset && 0...Region.sizeLimit ~= length
    case .eventBind(let handler, let top, _):
      return handler.value < limit && top.value % 16 == 0 && top.value <= exo_kit_start
        && top.value - UInt64(EXO_EXCEPTION_PUSH) >= UInt64(EXO_USER_FLOOR)
    case .slicesAllocate(let processor, let first, let count):
      return processor >= 0 && 1...SliceVector.count ~= count
        && (first ?? 0) >= 0 && (first ?? 0) + count <= SliceVector.count
    case .slicesBind(_, let first, let count, _): return first >= 0 && 1...SliceVector.count ~= count
    case .systemCallBind(let handler): return handler.map { $0.value > 0 && $0.value < limit } ?? true
    case .transferBind(let entry): return entry.map { $0.value < limit && $0.value != 0 } ?? true
    case .gateDisconnect(let number), .gateSignal(let number):
      return 0..<TransferPage.connections ~= number
    case .revokeRequest(_, let kind, let amount, _):
      return Revocation.isRevocable(kind) && 1...(1 << 32) ~= amount
    case .predicateBind(_, let length, let page):
      return 0...Rule.instructionLimit * 8 ~= length && (length == 0 || isMappable(page, 1))
    case .packetRingBind(let address, let slots):
      return 8...128 ~= slots && slots & (slots - 1) == 0 && isMappable(address, slots + 1)
    case .packetRingUnbind(let ring), .packetSend(let ring), .transmitBind(_, let ring):
      return 0..<Int(EXO_PACKET_RINGS) ~= ring
    case .transmitDerive(_, _, let count): return 0...Int(EXO_FILTER_STEPS) ~= count
    case .filterInstall: return true
    case .handlerBind(_, _, let length, let region):
      return 0...PacketHandler.instructionLimit * 8 ~= length
        && region.map { length > 0 && 1...HandlerRegion.pageLimit ~= $0.pages && $0.first >= 0 } ?? true
    case .gateCreate, .gateConnect, .gateDeadline, .eventUnbind, .eventPost, .timerSet: return true
    case .null, .exit, .frameFree, .clock, .capabilityRevoke, .capabilityDrop, .capabilityInspect,
      .capabilityNext, .environmentCreate, .environmentStop, .environmentResume, .environmentEnd,
      .environmentInspect, .environmentWait:
      return true
    }
  }

  @Test func aMillionSubmissions() {
    var random = SeededGenerator(seed: 2026)
    var decoded = 0
    var broken = 0
    for _ in 0..<1_000_000 {
      let number = random.next()
      let any = UInt32(truncatingIfNeeded: number >> 8)
      let call = number % 16 == 0 ? any : any % (EXO_CALL_COUNT.rawValue + 2)
      let submission = Self.submission(call, Self.arguments(&random))
      do throws(Refusal) {
        let valid = try Exocall(submission)
        decoded += 1
        if !Self.holds(valid) {
          broken += 1
          if broken < 5 { Issue.record("\(valid) of \(submission)") }
        }
      } catch {
        if error.code <= 0 { broken += 1 }
      }
    }
    #expect(broken == 0)
    #expect(decoded > 100_000 && decoded < 900_000)
  }
}
