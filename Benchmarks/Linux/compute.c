// Matrix products, by the very code the guests run. Each sample multiplies into memory that has been written before.
#include "linux.h"

#include "bench_work.h"

#include <stdlib.h>

#define MATMUL(name, type, multiply, size)                                                                 \
  double linux_##name(struct bench_linux *l, uint32_t iterations) {                                        \
    (void)l;                                                                                               \
    size_t cells = (size_t)size * size;                                                                    \
    type *a = malloc(3 * cells * sizeof *a);                                                               \
    if (!a) return -ENOMEM;                                                                                \
    for (size_t i = 0; i < 3 * cells; i++) a[i] = (type)(i % 7);                                           \
    uint64_t begin = bench_ticks();                                                                        \
    for (uint32_t n = 0; n < iterations; n++) multiply(a, a + cells, a + 2 * cells, size);                 \
    uint64_t ticks = bench_ticks() - begin;                                                                \
    free(a);                                                                                               \
    return linux_each(ticks, iterations);                                                                  \
  }
MATMUL(matmul150_int, int32_t, bench_multiply_int, 150)
MATMUL(matmul150_double, double, bench_multiply_double, 150)
MATMUL(matmul1024_double, double, bench_multiply_double, 1024)
