#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// Protection keys: any number of pages are protected, and opened again, by one instruction at ring 3 (WRPKRU), where the processor
  /// has them and ring 0 runs on it. A key takes away; what a page allows otherwise stays.
  ///
  ///     let key = try ProtectionKeys.take()
  ///     try key.tag(address, pages: 100)
  ///     key.allow(.read)            // all 100 are read-only now
  ///     key.allow([.read, .write])
  ///
  /// What keys allow holds for the whole environment, its threads and handlers too. It is the environment's own affair: others whose
  /// pages these are see nothing of it, calls through gates bring nothing of it there or back, and exocalls are not bound by it. A
  /// page has its key for as long as it stays mapped; pages of a `VirtualRegion` lose theirs when they move.
  public enum ProtectionKeys {
    /// Whether this machine has them.
    public static var areOffered: Bool {
      Startup.page.pointee.features & UInt64(EXO_FEATURE_PROTECTION_KEYS) != 0
    }

    /// A bit for each key that is taken. Key 0 is that of every page without another.
    nonisolated(unsafe) private static var taken: UInt32 = 1

    /// Takes one of the 15 keys that are not 0. It allows everything.
    /// - Throws: `unsupported` where there are none, `busy` if all are taken.
    public static func take() throws(ExocallError) -> ProtectionKey {
      guard areOffered else { throw .unsupported }
      try begin()
      let number = UInt32((~taken).trailingZeroBitCount)
      guard number < UInt32(EXO_KEYS) else { throw .busy }
      taken |= 1 << number
      let key = ProtectionKey(number: number)
      key.allow([.read, .write])
      return key
    }

    /// Gives a key back. No page is to have it any more: the next who takes it would find them under his.
    public static func give(_ key: ProtectionKey) {
      key.allow([.read, .write])
      taken &= ~(1 << key.number)
    }

    /// From here on WRPKRU is an instruction, and calls through gates leave PKRU as it is to be here.
    private static func begin() throws(ExocallError) {
      guard !exo_keys_are_used() else { return }
      // Any page that is mapped will do: key 0 is what it has.
      try Exocall.setKey(exo_image_header() & ~4095, pages: 1, key: 0)
      exo_keys_use()
      try Gate.bindEntryAgain()
    }

    /// Whether a page's key forbids what its rights may allow.
    static func forbid(_ key: UInt32, _ access: Rights) -> Bool {
      let bits = exo_keys_wanted() >> (2 * key) & 3
      return access.contains(.write) ? bits != 0 : bits & 1 != 0
    }

    /// Has this library read a page, whatever its key forbids.
    package static func opening(_ key: UInt32, _ body: () -> Void) {
      guard key != 0, exo_keys_are_used() else { return body() }
      let value = exo_keys_wanted()
      exo_keys_write(value & ~(3 << (2 * key)))
      body()
      exo_keys_write(value)
    }
  }

  /// One of the processor's 16 keys.
  public struct ProtectionKey: Equatable, Sendable {
    public let number: UInt32

    /// Gives pages this key instead of the one they have.
    /// - Throws: `unsupported`, `noEntry` if a page is not mapped, `invalid`.
    public func tag(_ address: UInt64, pages: UInt64) throws(ExocallError) {
      try Exocall.setKey(address, pages: pages, key: number)
    }
    /// Takes the key off pages again.
    public func untag(_ address: UInt64, pages: UInt64) throws(ExocallError) {
      try Exocall.setKey(address, pages: pages, key: 0)
    }

    /// What pages with this key allow from here on, of what they allow otherwise: nothing, reading, or both. Executing is not a
    /// key's affair. One WRPKRU, and no exocall.
    @inline(__always)
    public func allow(_ rights: Rights) {
      let forbidden: UInt32 = rights.contains(.write) ? 0 : rights.contains(.read) ? 2 : 1
      exo_keys_write(exo_keys_wanted() & ~(3 << (2 * number)) | forbidden << (2 * number))
    }
  }

  extension Exocall {
    /// Gives mapped pages a protection key, of 0 to 15, all or none.
    /// - Throws: `unsupported` where there are none, `noEntry` if a page is not mapped, `invalid`.
    public static func setKey(_ address: UInt64, pages: UInt64, key: UInt32) throws(ExocallError) {
      _ = try make(RingRequest(EXO_CALL_key_set.rawValue, address, pages, UInt64(key)))
    }
  }
#endif
