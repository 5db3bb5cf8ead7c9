import ExoABI

extension Kernel {
  /// Several page operations in one call, in order. Stops at the first that is refused.
  mutating func carryOutVector(
    _ operation: Exocall.PageOperation, at address: GuestAddress, count: Int,
    for id: EnvironmentID
  ) throws(Refusal) -> Answer {
    let entries = try readVector(at: address, count: count, of: id)
    // What all of them lower is flushed once, before anybody is told.
    var lowered = LoweredPages()
    defer { lower(lowered) }
    var pages = 0
    for (index, entry) in entries.enumerated() {
      do throws(Refusal) {
        // Together no more than one call may: it is all done under one lock.
        pages += Int(entry.pages)
        guard pages <= Exocall.pageLimit else { throw .invalid }
        let call = try Exocall(operation, entry)
        if case .protect(let address, let pages, let rights) = call {
          try protect(address, pages: pages, rights: rights, in: id, &lowered)
        } else {
          _ = try carryOut(call, for: id)
        }
      } catch {
        return Answer(-Int64(error.code), (UInt64(index), 0))
      }
    }
    return Answer(0, (UInt64(entries.count), 0))
  }

  /// Reads the entries once.
  private mutating func readVector(
    at address: GuestAddress, count: Int, of id: EnvironmentID
  ) throws(Refusal) -> [exo_page_operation] {
    let size = MemoryLayout<exo_page_operation>.stride
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count * size)
    guard let space = space(of: id),
      space.copyIn(address, count: count * size, memory: memory, to: &bytes)
    else { throw .badAddress }
    // Invariant: `bytes` holds `count` entries, and every pattern of bits is an entry.
    return unsafe bytes.withUnsafeBytes { raw in
      (0..<count).map { unsafe raw.loadUnaligned(fromByteOffset: $0 * size, as: exo_page_operation.self) }
    }
  }
}
