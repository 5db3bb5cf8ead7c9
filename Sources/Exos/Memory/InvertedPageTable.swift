import LibOS

/// An inverted page table: one entry for each frame, found by hashing the page's number. Its size follows the frames, not the
/// addresses; the exokernel knows nothing of it, and the hardware's table is a cache of what it says (Aegis's Table 13).
public struct InvertedPageTable {
  private struct Entry {
    var page: UInt64 = .max
    var rights: Rights = []
    /// The next frame of the same hash.
    var next: Int32 = -1
  }
  /// For each hash the first frame; a power of two of them.
  private var anchors: [Int32]
  private var entries: [Entry]

  public init(frames: Int) {
    var size = 16
    while size < frames { size *= 2 }
    anchors = Array(repeating: -1, count: size)
    entries = Array(repeating: Entry(), count: frames)
  }

  @inline(__always)
  private static func hash(_ page: UInt64) -> Int {
    Int(truncatingIfNeeded: (page &* 0x9e37_79b9_7f4a_7c15) >> 32)
  }
  @inline(__always)
  private func hash(_ page: UInt64) -> Int { Self.hash(page) & (anchors.count - 1) }

  /// The frame that has a page; nil if none does.
  @inline(__always)
  public func find(page: UInt64) -> Int? {
    var frame = anchors[hash(page)]
    while frame >= 0 {
      if entries[Int(frame)].page == page { return Int(frame) }
      frame = entries[Int(frame)].next
    }
    return nil
  }

  /// Says that a frame has a page. It must have had none, nor the page a frame.
  public mutating func insert(frame: Int, page: UInt64, _ rights: Rights) {
    precondition(entries[frame].page == .max && find(page: page) == nil)
    let place = hash(page)
    entries[frame] = Entry(page: page, rights: rights, next: anchors[place])
    anchors[place] = Int32(frame)
  }

  /// Takes a page out; the frame that it had.
  @discardableResult
  public mutating func remove(page: UInt64) -> Int? {
    guard let frame = find(page: page) else { return nil }
    let place = hash(page)
    let next = entries[frame].next
    if anchors[place] == Int32(frame) {
      anchors[place] = next
    } else {
      var before = Int(anchors[place])
      while entries[before].next != Int32(frame) { before = Int(entries[before].next) }
      entries[before].next = next
    }
    entries[frame] = Entry()
    return frame
  }

  /// What a page allows; nil if it has no frame.
  public func rights(of page: UInt64) -> Rights? { find(page: page).map { entries[$0].rights } }

  /// Notes what a page allows from now on; false if it has no frame.
  @discardableResult
  public mutating func setRights(of page: UInt64, _ rights: Rights) -> Bool {
    guard let frame = find(page: page) else { return false }
    entries[frame].rights = rights
    return true
  }

  /// The same for several pages, which must all have a frame: false if one has none, and those before it are done.
  @discardableResult
  public mutating func setRights(of pages: Range<UInt64>, _ rights: Rights) -> Bool {
    let last = anchors.count - 1
    return anchors.withUnsafeBufferPointer { anchors in
      entries.withUnsafeMutableBufferPointer { entries in
        for page in pages {
          var frame = anchors[Self.hash(page) & last]
          while frame >= 0, entries[Int(frame)].page != page { frame = entries[Int(frame)].next }
          if frame < 0 { return false }
          entries[Int(frame)].rights = rights
        }
        return true
      }
    }
  }
}
