// The floor under the benchmark: what each mechanism costs in a virtual machine of its own, with the least code
// that makes it work. No exokernel, no library operating system, no checks: nothing can do the same work on this
// machine for less, so the distance to it is what Exo itself costs.
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H
#include <stdint.h>

struct bench_floor;

/// Makes the machine. 0, or -errno with the reason in `*reason`.
int bench_floor_open(struct bench_floor *_Nullable *_Nonnull floor, const char *_Nullable *_Nonnull reason);
/// Runs `iterations` operations of a row; nanoseconds for each. Negative: -errno (-ENODEV: needs a second processor;
/// -ETIMEDOUT: given up). NaN: there is no such row.
double bench_floor_run(struct bench_floor *_Nonnull floor, const char *_Nonnull row, uint32_t iterations);
/// What the row measures, in one line; null for no such row.
const char *_Nullable bench_floor_describe(const char *_Nonnull row);
void bench_floor_close(struct bench_floor *_Nullable floor);
#endif
