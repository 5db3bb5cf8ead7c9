// What the benchmark's guest needs beyond Swift: loops of single instructions, and the handlers of the exceptions
// that they raise. Every loop returns the clock ticks that it took.
#ifndef BENCH_LOOPS_H
#define BENCH_LOOPS_H
#include <stdint.h>

/// Calls an empty function `count` times.
uint64_t bench_loop_call(uint64_t count);

struct bench_exception {
  const char *_Nonnull row;
  uint32_t vector;
  uint32_t flags;    // of the exception_bind exocall
  uint64_t handler;  // steps over the instruction and resumes
  /// Raises the exception `count` times. `page` is a read-only page.
  uint64_t (*_Nonnull raise)(uint64_t count, void *_Nonnull page);
};
/// The exception rows by index; null past the last.
const struct bench_exception *_Nullable bench_exception_row(int index);
/// Top of a stack for handlers, in pages of its own.
uint64_t bench_handler_stack(void);

/// The value is wanted: what computes it may not be left out.
static inline void bench_use(uint64_t value) { __asm__ volatile("" ::"r"(value) : "memory"); }
/// A store that happens here.
static inline void bench_store(uint32_t *_Nonnull word) { *(volatile uint32_t *)word = 1; }
#endif
