#ifndef LINUX_H
#define LINUX_H
#include "bench_linux.h"
#include "bench_support.h"

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

struct peer {
  pid_t process;
  int to, from;  // pipe or socket ends of the measured side; -1 where there are none
};

struct bench_linux {
  int image;           // the smallest program, in a memory file
  pid_t forker;        // that program, as the one that forks
  int forker_in, forker_out;
  struct shared *shared;
  int best[10];        // per contest: which way won, +1; 0: not yet held
  int crowd_in;        // what the processes that only wait read from; -1 without any
  int crowd_count;
  pid_t *crowd;
  double *series;      // of the last run of stride_error: microseconds and three counts for each point
};
#define LINUX_SERIES_LINES 4
#define LINUX_SERIES_POINTS 94

// A page the measured process and its peer both map: one word a line.
struct line {
  _Alignas(64) uint64_t word;
};
struct shared {
  struct line request, reply, count, stamp, ready, more[3];
};

/// Runs a row's body on the first processor.
typedef double row_function(struct bench_linux *, uint32_t iterations);
static inline double linux_each(uint64_t ticks, double count) {
  return bench_nanoseconds((double)ticks) / count;
}

// calls.c
row_function linux_procedure_call, linux_libos_call, linux_null_call, linux_batch, linux_clock;
// signals.c
row_function linux_sigfpe, linux_sigtrap, linux_sigsegv_noncanonical, linux_sigill, linux_sigsegv, linux_overflow,
    linux_unaligned;
/// A handler for the time of one row; the one before comes back after it.
#include <signal.h>
void linux_handle(int signal, void (*handler)(int, siginfo_t *, void *), struct sigaction *before);
void linux_unhandle(int signal, const struct sigaction *before);
// process.c
int linux_make_image(struct bench_linux *);
void linux_drop_image(struct bench_linux *);
row_function linux_spawn_first, linux_fork_first, linux_spawn_wait, linux_spawn_hello;
double linux_alive_memory(struct bench_linux *, uint32_t iterations);
void linux_drop_crowd(struct bench_linux *);
// peer.c
enum { SAME = 0, CROSS = 1 };  // the peer's processor
/// Starts `body` in a child on the given processor. `streams`: 0 none, 1 two pipes, 2 a socket pair.
int linux_peer_start(struct bench_linux *, struct peer *, int which, int streams,
                     void (*body)(struct shared *, int from, int to));
/// The same; `more`: others have been started, and what is in the shared page stays.
int linux_peer_start_more(struct bench_linux *, struct peer *, int which, int streams,
                          void (*body)(struct shared *, int from, int to), bool more);
void linux_peer_stop(struct peer *);
/// Waits until the peer has set `shared->ready`.
int linux_peer_ready(struct bench_linux *, struct peer *);
// ipc.c: round trips, in ns
double linux_pipe(struct bench_linux *, uint32_t iterations, int which);
double linux_socket(struct bench_linux *, uint32_t iterations, int which);
double linux_futex(struct bench_linux *, uint32_t iterations, int which);
double linux_yield(struct bench_linux *, uint32_t iterations, int which);
double linux_spin(struct bench_linux *, uint32_t iterations, int which);
double linux_pipe_64k(struct bench_linux *, uint32_t iterations, int which);
double linux_signal(struct bench_linux *, uint32_t iterations, int which);
// memory.c
row_function linux_prot1, linux_prot100, linux_prot100_remote, linux_unprot100, linux_appel1, linux_appel2;
// dirty.c
row_function linux_dirty;
// threads.c: both ways of a hand-off, a switch each
double linux_thread_futex(struct bench_linux *, uint32_t iterations, int which);
double linux_thread_yield(struct bench_linux *, uint32_t iterations, int which);
// shares.c
row_function linux_slice_error, linux_stride_error;
// mix.c
row_function linux_global_throughput, linux_global_latency, linux_global_unfairness;
// compute.c
row_function linux_matmul150_int, linux_matmul150_double, linux_matmul1024_double;
// filters.c
row_function linux_demux_1, linux_demux_10, linux_demux_100, linux_demux_1000, linux_demux_10000, linux_filter_insert;
/// Packets for the filters at random, the same for every contestant: see DemuxRows.swift. 60 bytes.
void linux_make_packet(unsigned char *packet, uint32_t *random, unsigned filters);
// pathfinder.c
row_function linux_pathfinder_10, linux_pathfinder_10000;
// wire.c
row_function linux_udp_rtt, linux_udp_rtt_beside_9;
#endif
