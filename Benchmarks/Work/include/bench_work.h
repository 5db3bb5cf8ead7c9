// Plain computation that guests and Linux do alike: compiled once, so that both run the same instructions.
#ifndef BENCH_WORK_H
#define BENCH_WORK_H
#include <stdint.h>

/// C = A x B for square matrices of `size` rows, row by row in memory.
void bench_multiply_int(const int32_t *_Nonnull a, const int32_t *_Nonnull b, int32_t *_Nonnull c, int size);
void bench_multiply_double(const double *_Nonnull a, const double *_Nonnull b, double *_Nonnull c, int size);
/// Fills memory and reads it over four times; never 0.
uint32_t bench_digest(uint32_t *_Nonnull words, int count);
/// Work for the processor alone.
uint32_t bench_ponder(uint32_t turns);
#endif
