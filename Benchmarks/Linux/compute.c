// Matrix products as anyone writes them, rows of the left by rows of the right, so that the inner loop runs along
// memory. Compiled with -O2 for the baseline x86-64, as the guests are.
#include "linux.h"

#include <stdlib.h>

#define MATMUL(name, type, size)                                                                \
  static void multiply_##name(const type *a, const type *b, type *c) {                          \
    for (int i = 0; i < size; i++) {                                                            \
      for (int j = 0; j < size; j++) c[i * size + j] = 0;                                       \
      for (int k = 0; k < size; k++)                                                            \
        for (int j = 0; j < size; j++) c[i * size + j] += a[i * size + k] * b[k * size + j];    \
    }                                                                                           \
  }                                                                                             \
  double linux_##name(struct bench_linux *l, uint32_t iterations) {                             \
    (void)l;                                                                                    \
    type *m = malloc(3 * sizeof(type) * size * size), *a = m, *b = a + size * size, *c = b + size * size; \
    if (!m) return -ENOMEM;                                                                     \
    for (int i = 0; i < size * size; i++) a[i] = (type)(i % 7), b[i] = (type)(i % 5), c[i] = 0; \
    uint64_t begin = bench_ticks();                                                             \
    for (uint32_t n = 0; n < iterations; n++) {                                                 \
      multiply_##name(a, b, c);                                                                 \
      __asm__ volatile("" ::"r"(c) : "memory"); /* every product is wanted */                   \
    }                                                                                           \
    uint64_t ticks = bench_ticks() - begin;                                                     \
    free(m);                                                                                    \
    return linux_each(ticks, iterations);                                                       \
  }
MATMUL(matmul150_int, int32_t, 150)
MATMUL(matmul150_double, double, 150)
MATMUL(matmul1024_double, double, 1024)
