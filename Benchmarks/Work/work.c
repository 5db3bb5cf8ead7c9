#include "bench_work.h"

// As anyone writes it: the inner loop runs along memory.
#define MULTIPLY(type, name)                                                                              \
  void name(const type *a, const type *b, type *c, int size) {                                            \
    for (int i = 0; i < size; i++) {                                                                      \
      type *row = c + i * size;                                                                           \
      for (int j = 0; j < size; j++) row[j] = 0;                                                          \
      for (int k = 0; k < size; k++)                                                                      \
        for (int j = 0; j < size; j++) row[j] += a[i * size + k] * b[k * size + j];                       \
    }                                                                                                     \
  }
MULTIPLY(int32_t, bench_multiply_int)
MULTIPLY(double, bench_multiply_double)
