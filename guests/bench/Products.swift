import BenchProducts

/// Matrix products, by the source that Linux runs too, in memory that has been written before. A wrong one gives no figure.
enum Products {
  static func integers(_ command: Command, size: Int) -> Timing? {
    measured(command, size: size, Int32.init) { a, b, c in
      MatrixProducts.integers(a, b, c, size: size)
    }
  }

  static func doubles(_ command: Command, size: Int) -> Timing? {
    measured(command, size: size, Double.init) { a, b, c in
      MatrixProducts.doubles(a, b, c, size: size)
    }
  }

  static func vectors(_ command: Command, size: Int) -> Timing? {
    let panel = UnsafeMutablePointer<SIMD4<Double>>.allocate(capacity: MatrixProducts.depth)
    defer { panel.deallocate() }
    return measured(command, size: size, Double.init) { a, b, c in
      MatrixProducts.vectors(a, b, c, panel: panel, size: size)
    }
  }

  private static func measured<Cell: Numeric>(
    _ command: Command, size: Int, _ cell: (Int) -> Cell,
    _ multiply: (UnsafeMutablePointer<Cell>, UnsafeMutablePointer<Cell>, UnsafeMutablePointer<Cell>) -> Void
  ) -> Timing? {
    let count = 3 * size * size
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: count * MemoryLayout<Cell>.stride, alignment: 64)
    defer { memory.deallocate() }
    let a = memory.bindMemory(to: Cell.self, capacity: count)
    for index in 0..<count { (a + index).initialize(to: cell(index % 7)) }
    let (b, c) = (a + size * size, a + 2 * size * size)
    let timing = timed(command) { multiply(a, b, c) }
    return MatrixProducts.isProduct(c, of: a, b, size: size)
      ? timing : Refusal.because("the product is wrong")
  }
}
