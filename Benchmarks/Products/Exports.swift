// For the side that is C (Benchmarks/Linux/compute.c).

@c(bench_multiply_int)
func multiplyIntegers(
  _ a: UnsafePointer<Int32>, _ b: UnsafePointer<Int32>, _ c: UnsafeMutablePointer<Int32>, _ size: Int
) { MatrixProducts.integers(a, b, c, size: size) }

@c(bench_multiply_double)
func multiplyDoubles(
  _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ c: UnsafeMutablePointer<Double>, _ size: Int
) { MatrixProducts.doubles(a, b, c, size: size) }

@c(bench_multiply_vectors)
func multiplyVectors(
  _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ c: UnsafeMutablePointer<Double>,
  _ panel: UnsafeMutableRawPointer, _ size: Int
) {
  MatrixProducts.vectors(
    a, b, c, panel: panel.assumingMemoryBound(to: SIMD4<Double>.self), size: size)
}

@c(bench_is_product_int)
func isProductOfIntegers(
  _ c: UnsafePointer<Int32>, _ a: UnsafePointer<Int32>, _ b: UnsafePointer<Int32>, _ size: Int
) -> Bool { MatrixProducts.isProduct(c, of: a, b, size: size) }

@c(bench_is_product_double)
func isProductOfDoubles(
  _ c: UnsafePointer<Double>, _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ size: Int
) -> Bool { MatrixProducts.isProduct(c, of: a, b, size: size) }
