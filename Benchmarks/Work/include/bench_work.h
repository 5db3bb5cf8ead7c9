// Plain computation that guests and Linux do alike: compiled once, so that both run the same instructions.
#ifndef BENCH_WORK_H
#define BENCH_WORK_H
#include <stdint.h>

/// Fills memory and reads it over four times; never 0.
uint32_t bench_digest(uint32_t *_Nonnull words, int count);
/// Work for the processor alone.
uint32_t bench_ponder(uint32_t turns);
#endif
