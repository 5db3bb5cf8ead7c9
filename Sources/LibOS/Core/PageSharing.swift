#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// What the core asks of a module that lets pages be shared with other environments until one writes, as `fork` does. The
  /// functions are C's: on the way to them nothing may be touched but data of the image, for anything else may be such a page.
  package struct PageSharing {
    /// Takes a page fault before any handler; false if the page is not one of these.
    package var resolve: @convention(c) (UnsafeMutablePointer<exo_exception_frame>) -> Bool
    /// The heap has unmapped so many pages at an address, in frames of a capability: whether the frames have to stay.
    package var keeps: @convention(c) (_ address: UInt64, _ pages: UInt64, _ capability: UInt64) -> Bool
    /// The exokernel is about to write to so many bytes at an address, and refuses where this environment may not write.
    package var prepare: @convention(c) (_ address: UInt64, _ count: UInt64) -> Void

    package init(
      resolve: @convention(c) (UnsafeMutablePointer<exo_exception_frame>) -> Bool,
      keeps: @convention(c) (_ address: UInt64, _ pages: UInt64, _ capability: UInt64) -> Bool,
      prepare: @convention(c) (_ address: UInt64, _ count: UInt64) -> Void
    ) {
      self.resolve = resolve
      self.keeps = keeps
      self.prepare = prepare
    }

    /// Nil until something is shared.
    nonisolated(unsafe) package static var current: PageSharing?
  }
#endif
