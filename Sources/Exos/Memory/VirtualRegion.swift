import LibOS

/// How a region of virtual memory behaves.
public struct RegionOptions: Sendable {
  /// What its pages allow at most.
  public var rights: Rights = [.read, .write]
  /// Pages at its low end that are never given memory: a stack that reaches them has overflown.
  public var guardPages = 0
  /// Most frames that it has at a time; the other pages are in its store. None of it without one.
  public var frameLimit: Int?
  /// How many pages, this one included, a first touch brings in.
  public var batch = 1

  public init() {}

  /// A stack of so many pages and one that guards them. It grows by being used.
  public static var stack: RegionOptions {
    var options = RegionOptions()
    options.guardPages = 1
    return options
  }
}

/// What was made of a page fault.
public enum FaultOutcome: Equatable, Sendable {
  /// The access may be tried again.
  case resolved
  /// The region's own trap handler wants it tried again.
  case trapped
  /// Nobody's business here.
  case noRegion
  /// A stack has overflown.
  case guardPage
  /// The region does not allow it.
  case forbidden
  case failed(VirtualMemoryError)
}

/// A region of virtual memory: what is known of each of its pages.
public final class VirtualRegion {
  enum Page: Equatable {
    /// Never touched: zeros.
    case untouched
    case resident(PageFrame)
    /// In the store.
    case saved
  }

  public let start: UInt64
  public let options: RegionOptions
  var pages: [Page]
  /// What each page allows by its user's wish.
  var wanted: [Rights]
  let store: (any PageStore)?
  var resident: ResidentPages
  /// Called for accesses that `wanted` forbids; false if it is an error. It may change what pages allow.
  public var onTrap: ((_ address: UInt64, _ isWrite: Bool) -> Bool)?
  /// Called with the content of a page that is shared for reading, before it is written for the first time.
  public var onCopy: ((_ page: Int, _ contents: UnsafeRawPointer) -> Void)?

  init(start: UInt64, pages: Int, _ options: RegionOptions, _ store: (any PageStore)?) {
    self.start = start
    self.options = options
    self.pages = Array(repeating: .untouched, count: pages)
    wanted = Array(repeating: options.rights, count: pages)
    self.store = store
    resident = ResidentPages(limit: options.frameLimit ?? .max)
  }

  public var count: Int { pages.count }
  public var residentCount: Int { resident.count }
  public func address(of page: Int) -> UInt64 { start + UInt64(page) << 12 }
  func number(of address: UInt64) -> Int { Int((address - start) >> 12) }
}

/// The pages of a region that have frames, in the order of a clock's face: a second chance goes to those that were used
/// since the hand last passed (Corbato's clock).
struct ResidentPages {
  let limit: Int
  private(set) var pages: [Int] = []
  private var hand = 0

  init(limit: Int) { self.limit = limit }

  var count: Int { pages.count }
  var isFull: Bool { pages.count >= limit }

  mutating func add(_ page: Int) {
    if limit < .max { pages.append(page) }
  }

  /// Takes back the page added last.
  mutating func remove(_ page: Int) {
    if pages.last == page { pages.removeLast() }
  }

  /// Takes out the page to give up, and says which were passed over because they had been used. Nil if there is none.
  mutating func evict(wasUsed: (Int) -> Bool) -> (victim: Int, spared: [Int])? {
    guard !pages.isEmpty else { return nil }
    var spared: [Int] = []
    for _ in 0..<pages.count {
      if hand >= pages.count { hand = 0 }
      let page = pages[hand]
      guard wasUsed(page) else { break }
      spared.append(page)
      hand += 1
    }
    // All were used: the first one passed over goes.
    if hand >= pages.count { hand = 0 }
    let victim = pages.remove(at: hand)
    return (victim, spared.filter { $0 != victim })
  }
}
