#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// Frames of another environment's, mapped so that it cannot make this one fault by taking them away.
  ///
  /// Whoever owns shared frames may give them up at any time, and they go when it ends; the next access would be a page fault.
  /// Here a page of this environment's own is put in the place of the one that is gone, zeroed, and the access goes on: what
  /// was read is nonsense, as the other could have written, and `hasVanished` says so.
  public struct SharedWindow: Sendable {
    public let address: UInt64
    public let pages: UInt64

    private struct Place {
      var first: UInt64
      var pages: UInt64
      /// Own frames to be put in place, one for each page.
      var spare: [(frames: Capability, pages: UInt64)]
      var hasVanished = false
    }
    private final class Book { var places: [Place] = [] }
    // Nothing at first, so that a child made of this image begins without.
    nonisolated(unsafe) private static var book: Book?
    nonisolated(unsafe) private static var taken: UInt64 = 0
    nonisolated(unsafe) private static var isGuarded = false
    private static var base: UInt64 { 0x5300_0000_0000 }

    /// Maps frames that another environment owns.
    /// - Throws: see `Exocall.map`; `quotaExceeded` if there are no frames to keep in reserve, one for each page.
    public static func map(_ frames: Capability, pages: UInt64, _ rights: Rights) throws(ExocallError)
      -> SharedWindow
    {
      let address = base + taken
      var place = Place(first: address, pages: pages, spare: [])
      var left = pages
      while left > 0 {
        let grant = try Exocall.frameAllocate(count: left)
        place.spare.append((grant.owner, grant.count))
        left -= grant.count
      }
      try guardPages()
      // A page between two windows is never mapped.
      taken += (pages + 1) << 12
      if book == nil { book = Book() }
      book?.places.append(place)
      try frames.map(at: address, pages: pages, rights)
      return SharedWindow(address: address, pages: pages)
    }

    /// Whether a page was missing when it was touched. What the window holds means nothing then.
    public var hasVanished: Bool {
      Self.book?.places.contains { $0.first == address && $0.hasVanished } ?? false
    }

    /// Has page faults looked at here. An application that handles page faults itself calls `substitute` from its handler, and
    /// has to bind it after the first window was mapped.
    private static func guardPages() throws(ExocallError) {
      if isGuarded { return }
      try Exceptions.bind(.pageFault) { frame in
        // Not one of ours: the access is tried again without a handler, and ends the environment with a report.
        if !substitute(frame.address) { try? Exceptions.unbind(.pageFault) }
      }
      isGuarded = true
    }

    /// Puts a page of one's own where one is missing; false if the address lies in no window, or is there.
    public static func substitute(_ address: UInt64) -> Bool {
      guard let book else { return false }
      let page = address & ~4095
      for index in book.places.indices {
        let place = book.places[index]
        guard page >= place.first, page - place.first < place.pages << 12 else { continue }
        var number = (page - place.first) >> 12
        for spare in place.spare {
          if number < spare.pages {
            do throws(ExocallError) {
              try spare.frames.map(page: number, at: page, pages: 1, [.read, .write])
            } catch { return false }
            book.places[index].hasVanished = true
            return true
          }
          number -= spare.pages
        }
      }
      return false
    }
  }
#endif
