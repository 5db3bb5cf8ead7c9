#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// What the nucleus does for an environment without leaving the guest, on machines whose ring 0 runs on the processor.
  /// Where it is not offered, or refuses, the exokernel does the same at an exocall.
  public enum NucleusCalls {
    /// Whether this machine's nucleus answers calls.
    public static var areOffered: Bool {
      Startup.page.pointee.features & UInt64(EXO_FEATURE_NUCLEUS_CALLS) != 0
    }

    /// The call that does nothing. Only where calls are offered.
    public static func null() { _ = exo_nucleus_call(Int64(EXO_NUCLEUS_CALL_NULL)) }

    /// Most pages for which one call each is less than an exocall for all.
    private static let most: UInt64 = 256

    /// Changes what pages allow; false if the exokernel must be asked. Looks at all of them first:
    /// an exocall that refuses one page of a range leaves the others alone too.
    static func protect(_ address: UInt64, pages: UInt64, rights: Rights) -> Bool {
      guard areOffered, address & 4095 == 0, pages > 0, pages <= most, address < UInt64(EXO_USER_LIMIT),
        pages << 12 <= UInt64(EXO_USER_LIMIT) - address
      else { return false }
      if pages > 1 {
        for page in 0..<pages where candidate(address + page << 12, rights) == nil { return false }
      }
      for page in 0..<pages {
        // Should one turn out to be another's business meanwhile, the exokernel does all of it again.
        guard protect(address + page << 12, rights) else { return false }
      }
      return true
    }

    private static func protect(_ address: UInt64, _ rights: Rights) -> Bool {
      // The hardware may mark the page accessed or dirty in between: then the entry is not the one that was read.
      for _ in 0..<8 {
        guard let entry = candidate(address, rights) else { return false }
        let seen = exo_nucleus_protect(address, entry.bits, entry.allowing(rights).bits)
        if seen == entry.bits { return true }
        if seen == 0 { return false }
      }
      return false
    }

    private static func candidate(_ address: UInt64, _ rights: Rights) -> PageTableEntry? {
      guard let entry = PageTables.entry(of: address), !entry.isLarge, !entry.isPinned,
        rights.subtracting(.read).isSubset(of: entry.granted)
      else { return nil }
      return entry
    }
  }

  /// The SYSCALL instruction, for a LibOS that stands in for another system.
  public enum SystemCalls {
    /// Has SYSCALL enter code at ring 3 with every register as it was: RCX holds the address after the instruction, R11 the
    /// flags; of the flags themselves TF, DF, NT, RF and AC are cleared. There is no other stack. Where
    /// `NucleusCalls.areOffered`, negative numbers in RAX are the nucleus's.
    /// - Throws: `badAddress` if it may not be executed.
    public static func bind(_ entry: UInt64) throws(ExocallError) {
      _ = try Exocall.make(RingRequest(EXO_CALL_system_call_bind.rawValue, entry))
    }
    /// SYSCALL raises #PF at an address of the nucleus again.
    /// - Throws: `noEntry` if nothing was bound.
    public static func unbind() throws(ExocallError) {
      _ = try Exocall.make(RingRequest(EXO_CALL_system_call_bind.rawValue, 0))
    }
  }
#endif
