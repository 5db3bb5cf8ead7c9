#if hasFeature(Embedded)
  import ExoABI

  /// The variables this environment was started with.
  public enum Variables {
    /// Those that another environment started this one with.
    nonisolated(unsafe) package static var given: StringTable?

    private static var table: StringTable {
      if let given { return given }
      let page = Startup.page.pointee
      return StringTable(address: page.environment_variables, count: Int(page.environment_count))
    }

    /// A variable's value; nil if it is not set.
    public static subscript(name: String) -> String? { table.value(of: name) }

    public static var count: Int { table.count }

    /// The bytes of one, `name=value`, ended by a NUL.
    public static func bytes(_ index: Int) -> UnsafePointer<CChar> {
      precondition(index >= 0 && index < count)
      return table[index]
    }

    /// Each as `name=value`.
    public static var all: [String] {
      let table = table
      return (0..<table.count).map { String(cString: table[$0]) }
    }
  }
#endif
