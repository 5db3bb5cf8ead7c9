import LibOS

/// Chooses frames by name so that pages side by side do not compete for the same lines of a physically indexed cache: page n
/// of a region gets a frame whose number is n, modulo the colours (Kessler and Hill, Page Placement Algorithms for Large
/// Real-Indexed Caches, 1992). Only where frames have names can a library do that.
public struct FrameColouring {
  public let colours: UInt32
  /// Where to look for the next frame.
  private var cursor: UInt32 = 0

  /// - Parameter colours: bytes of one way of the cache, in pages; a power of two.
  public init(colours: UInt32) {
    precondition(colours > 0 && colours & (colours - 1) == 0)
    self.colours = colours
  }

  /// The number of the first frame from `start` on that has a page's colour.
  public func candidate(for page: Int, from start: UInt32) -> UInt32 {
    start &+ (UInt32(truncatingIfNeeded: page) &- start) & (colours - 1)
  }

  #if hasFeature(Embedded)
    /// A frame of a page's colour, asked for by name; nil if no frame of it is free within the whole machine.
    public mutating func takeFrame(for page: Int, from machine: inout MachinePages) -> PageFrame? {
      let total = UInt32(truncatingIfNeeded: Machine.framesTotal)
      var number = candidate(for: page, from: cursor)
      for _ in 0..<total / colours {
        if number >= total { number = candidate(for: page, from: 0) }
        if let frame = machine.takeFrame(number: number) {
          cursor = number + 1
          return frame
        }
        number += colours
      }
      return nil
    }
  #endif
}
