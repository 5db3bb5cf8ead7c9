/// Products of square matrices that lie row by row in memory: one source for Linux and for guests.
///
/// The two of 150 rows are the paper's programs (table 9) as anyone writes them, with the inner loop along memory. `vectors` is for
/// matrices that caches do not hold: it keeps four rows by four columns of the product in vector registers.
public enum MatrixProducts {
  /// C = A x B; sums wrap around.
  @inline(never)
  public static func integers(
    _ a: UnsafePointer<Int32>, _ b: UnsafePointer<Int32>, _ c: UnsafeMutablePointer<Int32>, size: Int
  ) {
    for i in 0..<size {
      let row = c + i &* size
      row.update(repeating: 0, count: size)
      for k in 0..<size {
        let (factor, other) = (a[i &* size &+ k], b + k &* size)
        for j in 0..<size { row[j] = row[j] &+ factor &* other[j] }
      }
    }
  }

  /// C = A x B.
  @inline(never)
  public static func doubles(
    _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ c: UnsafeMutablePointer<Double>, size: Int
  ) {
    for i in 0..<size {
      let row = c + i &* size
      row.update(repeating: 0, count: size)
      for k in 0..<size {
        let (factor, other) = (a[i &* size &+ k], b + k &* size)
        for j in 0..<size { row[j] += factor * other[j] }
      }
    }
  }

  /// C = A x B for a size that is a multiple of four.
  /// - Parameter panel: room for four columns of B, which are read along memory there.
  @inline(never)
  public static func vectors(
    _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ c: UnsafeMutablePointer<Double>,
    panel: UnsafeMutablePointer<SIMD4<Double>>, size: Int
  ) {
    precondition(size & 3 == 0)
    c.update(repeating: 0, count: size &* size)
    for start in stride(from: 0, to: size, by: depth) {
      let steps = min(depth, size &- start)
      for column in stride(from: 0, to: size, by: 4) {
        for k in 0..<steps { panel[k] = vector(b + ((start &+ k) &* size &+ column)) }
        for row in stride(from: 0, to: size, by: 4) {
          let first = a + (row &* size &+ start)
          let (second, third, fourth) = (first + size, first + 2 &* size, first + 3 &* size)
          let block = c + (row &* size &+ column)
          var sums = (
            vector(block), vector(block + size), vector(block + 2 &* size), vector(block + 3 &* size)
          )
          for k in 0..<steps {
            let factors = panel[k]
            sums.0 += first[k] * factors
            sums.1 += second[k] * factors
            sums.2 += third[k] * factors
            sums.3 += fourth[k] * factors
          }
          store(sums.0, block)
          store(sums.1, block + size)
          store(sums.2, block + 2 &* size)
          store(sums.3, block + 3 &* size)
        }
      }
    }
  }
  /// Rows of B in a panel: it and the rows of A beside it stay in the first cache.
  public static var depth: Int { 256 }

  /// Whether some cells of a product are what they must be: in all rows, each in another column.
  public static func isProduct<Cell: Numeric>(
    _ c: UnsafePointer<Cell>, of a: UnsafePointer<Cell>, _ b: UnsafePointer<Cell>, size: Int
  ) -> Bool {
    for row in 0..<size {
      let column = (row &* 7 &+ 3) % size
      var sum = Cell.zero
      for k in 0..<size { sum += a[row &* size &+ k] * b[k &* size &+ column] }
      if sum != c[row &* size &+ column] { return false }
    }
    return true
  }

  @inline(__always)
  private static func vector(_ cells: UnsafePointer<Double>) -> SIMD4<Double> {
    SIMD4(cells[0], cells[1], cells[2], cells[3])
  }
  @inline(__always)
  private static func store(_ vector: SIMD4<Double>, _ cells: UnsafeMutablePointer<Double>) {
    (cells[0], cells[1], cells[2], cells[3]) = (vector[0], vector[1], vector[2], vector[3])
  }
}
