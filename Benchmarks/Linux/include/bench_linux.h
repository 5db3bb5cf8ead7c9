// What Linux takes for the same work on the same machine, done in the best ordinary way: the one a C programmer
// who cared would use, without privileges. It follows what lmbench and Appel and Li's program measure.
#ifndef BENCH_LINUX_H
#define BENCH_LINUX_H
#include <stdint.h>

struct bench_linux;

/// 0 or -errno.
int bench_linux_open(struct bench_linux *_Nullable *_Nonnull linux_);
/// Runs `iterations` operations of a row; nanoseconds for each. Negative: -errno (-ENODEV: needs a second processor;
/// -EOPNOTSUPP: this kernel cannot; -ETIMEDOUT: given up). NaN: there is no such row.
double bench_linux_run(struct bench_linux *_Nonnull linux_, const char *_Nonnull row, uint32_t iterations);
/// How the row is done, in one line; where several ways were tried, which of them was fastest. Null: no such row.
/// The text stays valid until the next run of the same row.
const char *_Nullable bench_linux_describe(struct bench_linux *_Nonnull linux_, const char *_Nonnull row);

/// Has `count` other processes exist that wait for input which does not come. 0 or -errno.
int bench_linux_crowd(struct bench_linux *_Nonnull linux_, int count);
/// What the last run of a row was drawn from: `points` times `lines` numbers, of which the first is in microseconds. Null for most
/// rows.
const double *_Nullable bench_linux_series(struct bench_linux *_Nonnull linux_, const char *_Nonnull row,
                                           int *_Nonnull lines, int *_Nonnull points);

/// Runs a path eight times, for its instructions to be counted by a clock that counts them; each one's ticks go to
/// `ticks`. 1; 0 past the last path; -errno.
int bench_linux_count(int index, const char *_Nullable *_Nonnull name, uint32_t *_Nonnull ticks);
void bench_linux_close(struct bench_linux *_Nullable linux_);

/// A pair of interfaces in a namespace of its own; datagrams are sent from one end to 10.77.0.2, port 7, at the other, `exo1`. Needs
/// the right to make namespaces.
struct bench_wire;
int bench_wire_open(struct bench_wire *_Nullable *_Nonnull wire);
void bench_wire_close(struct bench_wire *_Nullable wire);
/// Brings the calling thread into the namespace, and back.
int bench_wire_enter(struct bench_wire *_Nonnull wire);
void bench_wire_leave(struct bench_wire *_Nonnull wire);
/// Nanoseconds for a datagram of 60 bytes there and back; negative for an errno.
double bench_wire_round_trips(struct bench_wire *_Nonnull wire, uint32_t iterations);
#endif
