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
/// What must be bound for a path that is counted.
enum bench_count_kind { BENCH_COUNT_PLAIN, BENCH_COUNT_EXCEPTION, BENCH_COUNT_UPCALL, BENCH_COUNT_NUCLEUS };
struct bench_counted {
  const char *_Nonnull name;
  uint32_t kind;     // enum bench_count_kind
  uint32_t vector;   // of an exception
  uint32_t flags;
  uint64_t handler;
  /// Runs the path eight times; each one's ticks go to `ticks`. `page` is a read-only page.
  void (*_Nonnull run)(uint32_t *_Nonnull ticks, void *_Nonnull page);
};
/// The counted paths by index; null past the last.
const struct bench_counted *_Nullable bench_counted_path(int index);
/// The nucleus's protection of `page`, whose entry is `entry`, to `other` and back, eight times.
void bench_count_protect(uint32_t *_Nonnull ticks, void *_Nonnull page, uint64_t entry, uint64_t other);

/// Top of a stack for handlers, in pages of its own.
uint64_t bench_handler_stack(void);

/// The value is wanted: what computes it may not be left out.
static inline void bench_use(uint64_t value) { __asm__ volatile("" ::"r"(value) : "memory"); }
/// A store that happens here.
static inline void bench_store(uint32_t *_Nonnull word) { *(volatile uint32_t *)word = 1; }
#endif
