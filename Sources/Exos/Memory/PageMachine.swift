import LibOS

/// A frame that virtual memory has to use: a number of its own among all those.
public struct PageFrame: Hashable, Sendable {
  public let slot: Int
  public init(slot: Int) { self.slot = slot }
}

/// What virtual memory asks of the machine below: frames, and what is mapped where. Tests of its logic put another one
/// in the exokernel's place.
public protocol PageMachine {
  /// A frame full of zeros; nil if there are no more.
  mutating func takeFrame() -> PageFrame?
  mutating func giveFrame(_ frame: PageFrame)
  /// The frame's content, readable and writable at any time, apart from what is mapped of it.
  func contents(of frame: PageFrame) -> UnsafeMutableRawPointer
  mutating func map(_ frame: PageFrame, at address: UInt64, _ rights: Rights) throws(ExocallError)
  /// Refuses only pages that are pinned.
  mutating func unmap(_ address: UInt64, pages: UInt64) throws(ExocallError)
  /// Lowers or restores the rights of pages that are all mapped, within those they were mapped with.
  mutating func protect(_ address: UInt64, pages: UInt64, _ rights: Rights) throws(ExocallError)
  /// What the hardware says of a page; nil where none is mapped.
  func entry(of address: UInt64) -> PageTableEntry?
}

/// Where pages go that have no frame.
public protocol PageStore: AnyObject {
  /// Keeps a page's content under its number.
  func save(_ page: Int, from contents: UnsafeRawPointer) throws(PageStoreError)
  /// Gives back what was kept, which may be forgotten then.
  func load(_ page: Int, into contents: UnsafeMutableRawPointer) throws(PageStoreError)
}

public enum PageStoreError: Error, Equatable, Sendable {
  /// No room for another page.
  case full
  /// What was kept is gone, or its memory no longer this environment's to use.
  case lost
}

/// Why virtual memory could not do as asked.
public enum VirtualMemoryError: Error, Equatable, Sendable {
  /// No region is there, or the range is not within one.
  case noRegion
  /// A region is there already, or there is no room for one.
  case noRoom
  /// Neither more frames nor a page to give up.
  case noFrames
  /// It cannot be done with a region of this kind.
  case unsupported
  case store(PageStoreError)
  case refused(ExocallError)
}
