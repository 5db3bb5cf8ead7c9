#if hasFeature(Embedded)
  import ExoABI
  import Synchronization

  /// Facts about the machine that every environment may read without a call.
  public enum Machine {
    public static var framesTotal: UInt64 { page.pointee.frames_total }
    /// Frames that nobody owns at this moment. Those given back lately count again once somebody needs them.
    public static var framesFree: UInt64 { word(8) }
    /// Physical address of frame 0.
    public static var memoryBase: UInt64 { page.pointee.memory_base }

    private static var page: UnsafePointer<exo_machine> {
      UnsafePointer(bitPattern: UInt(Startup.page.pointee.machine)).unsafelyUnwrapped
    }
    private static func word(_ offset: UInt) -> UInt64 {
      let address = UInt(Startup.page.pointee.machine) + offset
      return UnsafeMutablePointer<Atomic<UInt64>>(bitPattern: address).unsafelyUnwrapped.pointee
        .load(ordering: .relaxed)
    }
  }

  /// What this environment holds of the machine's memory, read without a call.
  public enum Frames {
    /// Frames charged to this environment: those it owns and its page tables.
    public static var held: UInt64 {
      UnsafeMutablePointer<Atomic<UInt64>>(bitPattern: UInt(Startup.page.pointee.status) + 8)
        .unsafelyUnwrapped.pointee.load(ordering: .relaxed)
    }
    /// Most it may hold.
    public static var limit: UInt64 { Startup.page.pointee.frame_limit }

    /// A run of frames: the number of the first, and how many.
    public struct Run: Equatable, Sendable {
      public var first: UInt32
      public var count: UInt32
      public init(first: UInt32, count: UInt32) {
        self.first = first
        self.count = count
      }
      public func contains(_ frame: UInt32) -> Bool { frame >= first && frame - first < count }
    }

    /// The frames this environment owns, as runs in no order, and whether the list is complete: the page it is
    /// published on holds 511.
    public static var owned: (runs: [Run], isComplete: Bool) {
      let head = listWord(0)
      let count = UInt32(truncatingIfNeeded: head)
      let runs = (0..<UInt(min(count, 511))).map { index in
        let word = listWord(1 + index)
        return Run(
          first: UInt32(truncatingIfNeeded: word), count: UInt32(truncatingIfNeeded: word >> 32))
      }
      return (runs, head >> 32 == 0)
    }

    private static func listWord(_ index: UInt) -> UInt64 {
      let address = UInt(Startup.page.pointee.frame_list) + index * 8
      return UnsafeMutablePointer<Atomic<UInt64>>(bitPattern: address).unsafelyUnwrapped.pointee
        .load(ordering: .relaxed)
    }
  }
#endif
