// Matrix products, by the very source the guests run: Swift, in Benchmarks/Products. Each sample multiplies into memory that has
// been written before, and is nothing if the product is wrong.
#include "linux.h"
#include "products.h"

#include <stdlib.h>

static void multiply_vectors(const double *a, const double *b, double *c, long size) {
  static double panel[1024] __attribute__((aligned(32)));
  bench_multiply_vectors(a, b, c, panel, size);
}

#define MATMUL(name, type, multiply, is_product, size)                                                     \
  double linux_##name(struct bench_linux *l, uint32_t iterations) {                                        \
    (void)l;                                                                                               \
    size_t cells = (size_t)size * size;                                                                    \
    type *a = aligned_alloc(64, 3 * cells * sizeof *a);                                                    \
    if (!a) return -ENOMEM;                                                                                \
    for (size_t i = 0; i < 3 * cells; i++) a[i] = (type)(i % 7);                                           \
    uint64_t begin = bench_ticks();                                                                        \
    for (uint32_t n = 0; n < iterations; n++) multiply(a, a + cells, a + 2 * cells, size);                 \
    uint64_t ticks = bench_ticks() - begin;                                                                \
    bool right = is_product(a + 2 * cells, a, a + cells, size);                                            \
    free(a);                                                                                               \
    return right ? linux_each(ticks, iterations) : -EDOM;                                                  \
  }
MATMUL(matmul150_int, int32_t, bench_multiply_int, bench_is_product_int, 150)
MATMUL(matmul150_double, double, bench_multiply_double, bench_is_product_double, 150)
MATMUL(matmul1024_double, double, multiply_vectors, bench_is_product_double, 1024)
