#if hasFeature(Embedded)
  import ExoABI

  /// The argument strings this environment was started with.
  public enum Arguments {
    /// Those that another environment started this one with.
    nonisolated(unsafe) package static var given: StringTable?

    public static var count: Int {
      given?.count ?? Int(Startup.page.pointee.argument_count)
    }

    /// The bytes of one argument, ended by a NUL.
    public static func bytes(_ index: Int) -> UnsafePointer<CChar> {
      precondition(index >= 0 && index < count)
      return table[index]
    }

    static var table: StringTable {
      given ?? StringTable(address: Startup.page.pointee.arguments, count: count)
    }

    /// The name this environment was started under.
    public static var name: String { count > 0 ? String(cString: bytes(0)) : "" }

    /// Every argument, the name included. Bytes that are not UTF-8 are replaced; `bytes` has them as they are.
    public static var all: [String] { (0..<count).map { String(cString: bytes($0)) } }
  }
#endif
