import BenchWork

/// Matrix products, by the code that Linux runs too, in memory that has been written before.
enum Products {
  static func integers(_ command: Command, size: Int) -> Timing {
    let cells = matrices(of: size) { Int32($0 % 7) }
    defer { cells.deallocate() }
    return timed(command) {
      bench_multiply_int(cells, cells + size * size, cells + 2 * size * size, Int32(size))
    }
  }

  static func doubles(_ command: Command, size: Int) -> Timing {
    let cells = matrices(of: size) { Double($0 % 7) }
    defer { cells.deallocate() }
    return timed(command) {
      bench_multiply_double(cells, cells + size * size, cells + 2 * size * size, Int32(size))
    }
  }

  private static func matrices<Cell>(of size: Int, _ fill: (Int) -> Cell) -> UnsafeMutablePointer<Cell> {
    let cells = UnsafeMutablePointer<Cell>.allocate(capacity: 3 * size * size)
    for index in 0..<3 * size * size { (cells + index).initialize(to: fill(index)) }
    return cells
  }
}
