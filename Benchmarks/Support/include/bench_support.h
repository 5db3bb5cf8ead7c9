// What the measurement code of every contestant shares: a clock, thread placement, and bounded waiting.
#ifndef BENCH_SUPPORT_H
#define BENCH_SUPPORT_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

// --- The clock: the time-stamp counter, which guests, the host and its children all read alike. A reading costs
// some 20 ns, so nothing shorter than a microsecond is timed by itself, only in loops.
static inline uint64_t bench_ticks(void) { return __builtin_ia32_rdtsc(); }
/// Nanoseconds in `ticks`. The rate is measured once, against the monotonic clock, over 20 ms.
double bench_nanoseconds(double ticks);

// --- Placement. What is measured runs on the first processor this process may use; its partner, where a row has
// one, on the second. The set is read once, before anything pins a thread.
/// How many processors this process may use.
int bench_processor_count(void);
/// The number of the first (0) or second (1) of them; -1 if there is none.
int bench_processor(int which);

struct bench_place {
  cpu_set_t saved;
};
/// Moves the calling thread to the given processor and remembers where it might run before. 0 or -errno.
int bench_pin(int which, struct bench_place *place);
void bench_unpin(const struct bench_place *place);

// --- Waiting. Every loop that waits for another party asks this: the clock is read once in 1,024 turns, so that
// a poll stays a load, a compare and a decrement.
struct bench_deadline {
  uint64_t end;
  uint32_t turns;
};
struct bench_deadline bench_deadline_after(double seconds);
static inline bool bench_expired(struct bench_deadline *deadline) {
  return (++deadline->turns & 1023) == 0 && bench_ticks() > deadline->end;
}
// --- Memory
/// Bytes that the host's kernel and this process use. What belongs to files is no part of it, nor is what other processes
/// have for themselves; their page tables and kernel stacks are, if `with_children`. Negative where the kernel does not say.
double bench_memory_in_use(bool with_children);
/// Most points that `bench_slope` looks at.
#define BENCH_SLOPE_POINTS 32
/// How steeply y rises with x: the median of the slopes between any two points (Theil, 1950; Sen, 1968), which a step that
/// somebody else makes now and then does not move. 0 for fewer than two points.
double bench_slope(const double *x, const double *y, int count);

/// Longest any one measurement may take before it is given up, in seconds.
#define BENCH_PATIENCE 10.0
#endif
