import ExoABI

extension GuestImage {
  /// Whole pages of an environment's memory: part of the file with zeros on both sides of it.
  public struct Segment: Sendable, Hashable {
    /// The first page.
    public let address: GuestAddress
    /// Pages from `address`; one at least.
    public let pageCount: Int
    /// Bytes from `address` to the end of what the image declared, which may be within the last page.
    public let memorySize: Int
    /// The bytes of the file that go to `address + contentOffset`. Empty where all is zero.
    public let fileRange: Range<Int>
    /// Where within the first page the file's bytes begin.
    public let contentOffset: Int
    /// Readable always; never both writable and executable.
    public let rights: Rights
    /// The number of the program header it came from.
    let header: Int

    /// The first address past the last page.
    public var end: GuestAddress { address.advanced(byPages: pageCount) }

    /// Whether an address lies between `address` and the last declared byte.
    public func contains(_ other: GuestAddress) -> Bool {
      other >= address && other.value - address.value < UInt64(memorySize)
    }

    /// What page `index` holds: `file` bytes placed `offset` bytes into it, zeros around them.
    public func content(ofPage index: Int) -> (offset: Int, file: Range<Int>) {
      let page = index * Int(EXO_PAGE_SIZE)
      let whole = contentOffset..<(contentOffset + fileRange.count)
      let part = whole.clamped(to: page..<(page + Int(EXO_PAGE_SIZE)))
      guard !part.isEmpty else { return (0, fileRange.lowerBound..<fileRange.lowerBound) }
      let start = fileRange.lowerBound + part.lowerBound - contentOffset
      return (part.lowerBound - page, start..<(start + part.count))
    }
  }
}

extension GuestImage.Segment {
  /// Checks one loadable header; nil if it declares no memory.
  init?(_ program: ProgramHeader, fileSize: Int) throws(ImageError) {
    guard program.fileSize <= program.memorySize else {
      throw .fileExceedsMemory(
        header: program.index, fileSize: program.fileSize, memorySize: program.memorySize)
    }
    fileRange = try program.fileRange(fileSize: fileSize)
    guard program.memorySize > 0 else { return nil }

    let allowed = GuestImage.allowed
    guard allowed.contains(program.address), program.memorySize <= allowed.upperBound - program.address else {
      throw .outsideUserHalf(
        header: program.index, address: program.address, size: program.memorySize, allowed: allowed)
    }
    let pageMask = UInt64(EXO_PAGE_SIZE - 1)
    guard program.fileSize == 0 || (program.offset ^ program.address) & pageMask == 0 else {
      throw .misaligned(header: program.index, offset: program.offset, address: program.address)
    }

    // Both limits of the allowed range are page-aligned, so that rounding outwards stays within it.
    header = program.index
    contentOffset = Int(program.address & pageMask)
    address = GuestAddress(program.address & ~pageMask)
    memorySize = contentOffset + Int(program.memorySize)
    pageCount = (memorySize + Int(pageMask)) >> Int(EXO_PAGE_SHIFT)

    guard !program.rights.isEmpty else { throw .noRights(header: program.index) }
    guard !program.rights.isSuperset(of: [.write, .execute]) else {
      throw .writableCode(header: program.index, address: program.address)
    }
    // Page tables of this processor cannot forbid reading what may be written or executed.
    rights = program.rights.union(.read)
  }
}
