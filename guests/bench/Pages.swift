import BenchLoops
import ExoABI
import LibOS

/// Pages of this environment at addresses of their own.
struct Pages {
  static let size: UInt64 = 4096
  let address: UInt64
  let count: UInt64

  /// 100 pages that have been written, for Appel and Li's primitives.
  nonisolated(unsafe) private static var hundred: Pages?
  static var ofPrimitives: Pages? {
    if hundred == nil { hundred = Pages(at: 0x2000_0000_0000, count: 100) }
    return hundred
  }
  /// One page that must not be written.
  nonisolated(unsafe) private static var readOnly: Pages?
  static var readOnlyPage: Pages? {
    if readOnly == nil, let page = Pages(at: 0x2000_1000_0000, count: 1) {
      page.touch()
      if page.protect() { readOnly = page }
    }
    return readOnly
  }

  private init?(at address: UInt64, count: UInt64) {
    self.address = address
    self.count = count
    var done: UInt64 = 0
    do throws(ExocallError) {
      while done < count {
        let grant = try Exocall.frameAllocate(count: count - done)
        try Exocall.map(
          grant.capability, page: 0, at: address + done * Self.size, pages: grant.count,
          rights: [.read, .write])
        done += grant.count
      }
    } catch { return nil }
  }

  func pointer(_ page: UInt64) -> UnsafeMutablePointer<UInt32> {
    UnsafeMutablePointer(bitPattern: UInt(address + page * Self.size)).unsafelyUnwrapped
  }
  /// One write that the compiler may neither move nor leave out: the page may be protected.
  func write(_ page: UInt64) { bench_store(pointer(page)) }
  /// The exocall that changes what one page allows.
  func request(_ page: UInt64, _ rights: Rights) -> RingRequest {
    RingRequest(EXO_CALL_protect.rawValue, address + page * Self.size, 1, rights.rawValue)
  }
  /// Writes every page, so that the translations a change must remove do exist.
  func touch() {
    for page in 0..<count { write(page) }
  }

  /// Forbids writing; every page if no range is given.
  func protect(_ first: UInt64 = 0, _ pages: UInt64? = nil) -> Bool { change(first, pages, .read) }
  func unprotect(_ first: UInt64 = 0, _ pages: UInt64? = nil) -> Bool {
    change(first, pages, [.read, .write])
  }

  @inline(__always)
  private func change(_ first: UInt64, _ pages: UInt64?, _ rights: Rights) -> Bool {
    do throws(ExocallError) {
      try Exocall.protect(address + first * Self.size, pages: pages ?? count, rights: rights)
      return true
    } catch { return false }
  }
}
