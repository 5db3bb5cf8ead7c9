#include "linux.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// One of several ways to do the same: `share` of a round trip is what the row counts.
struct way {
  double (*run)(struct bench_linux *, uint32_t, int which);
  int which;
  const char *description;
};
static const struct way ways_rpc[] = {{linux_pipe, SAME, "two pipes, one processor"},
                                      {linux_pipe, CROSS, "two pipes, two processors"},
                                      {linux_socket, SAME, "Unix socket pair, one processor"},
                                      {linux_socket, CROSS, "Unix socket pair, two processors"},
                                      {linux_futex, SAME, "futex in shared memory, one processor"},
                                      {linux_futex, CROSS, "futex in shared memory, two processors"},
                                      {NULL, 0, NULL}},
                        ways_same[] = {{linux_pipe, SAME, "two pipes, one processor"},
                                       {linux_socket, SAME, "Unix socket pair, one processor"},
                                       {linux_futex, SAME, "futex in shared memory, one processor"},
                                       {linux_yield, SAME, "sched_yield until shared memory changes, one processor"},
                                       {NULL, 0, NULL}},
                        ways_hand_off[] = {{linux_futex, SAME, "futex hand-off, one processor"},
                                           {linux_yield, SAME, "sched_yield, one processor"},
                                           {NULL, 0, NULL}},
                        ways_pipe[] = {{linux_pipe, SAME, "two pipes, one processor"},
                                       {linux_pipe, CROSS, "two pipes, two processors"},
                                       {NULL, 0, NULL}},
                        ways_socket[] = {{linux_socket, SAME, "Unix socket pair, one processor"},
                                         {linux_socket, CROSS, "Unix socket pair, two processors"},
                                         {NULL, 0, NULL}},
                        ways_block[] = {{linux_pipe_64k, SAME, "pipe and a byte back, one processor"},
                                        {linux_pipe_64k, CROSS, "pipe and a byte back, two processors"},
                                        {NULL, 0, NULL}},
                        ways_shared[] = {{linux_spin, CROSS, "spinning on shared memory, two processors"},
                                         {linux_futex, SAME, "futex in shared memory, one processor"},
                                         {NULL, 0, NULL}};

static const struct way ways_thread[] = {{linux_thread_futex, SAME, "futex hand-off between two threads"},
                                         {linux_thread_yield, SAME, "sched_yield between two threads"},
                                         {NULL, 0, NULL}};

// Where both ends are on the same terms as Exo's.
static const struct way ways_pipe_across[] = {{linux_pipe, CROSS, "two pipes, two processors"}, {NULL, 0, NULL}},
                        ways_futex_across[] = {{linux_futex, CROSS, "futex in shared memory, two processors"},
                                               {NULL, 0, NULL}};

struct row {
  const char *name;
  row_function *run;       // or, if null, the best of
  const struct way *ways;
  int contest;             // where the winner is kept
  double share;
  const char *description;
};
static const struct row rows[] = {
    {"procedure_call", linux_procedure_call, NULL, 0, 1, "C function call that is not inlined"},
    {"libos_call", linux_libos_call, NULL, 0, 1, "getpid by syscall(2), not cached"},
    {"exocall", linux_null_call, NULL, 0, 1, "getpid by the bare syscall instruction"},
    {"exocall_batch32", linux_batch, NULL, 0, 1, "32 bare getpid system calls; per call"},
    {"clock", linux_clock, NULL, 0, 1, "clock_gettime(CLOCK_MONOTONIC) in the vDSO"},
    {"exception_de", linux_sigfpe, NULL, 0, 1, "SIGFPE handler steps over div"},
    {"exception_bp", linux_sigtrap, NULL, 0, 1, "SIGTRAP handler"},
    {"exception_gp", linux_sigsegv_noncanonical, NULL, 0, 1, "SIGSEGV handler, non-canonical load"},
    {"exception_ud", linux_sigill, NULL, 0, 1, "SIGILL handler steps over ud2"},
    {"exception_pf_direct", linux_sigsegv, NULL, 0, 1, "SIGSEGV handler, store to a read-only page"},
    {"exception_pf_cr2", linux_sigsegv, NULL, 0, 1, "SIGSEGV handler, which has the address in siginfo"},
    {"exception_fp_overflow", linux_overflow, NULL, 0, 1, "SIGFPE handler, unmasked SSE overflow"},
    {"exception_unaligned", linux_unaligned, NULL, 0, 1, "SIGBUS handler, unaligned load with EFLAGS.AC"},
    {"pct_cross_core", NULL, ways_shared, 0, 1, "round trip"},
    {"pct_same_core_sync", NULL, ways_same, 1, 0.5, "one way"},
    {"pct_same_core_async", NULL, ways_same, 1, 0.5, "one way"},
    {"yield_to", NULL, ways_hand_off, 2, 0.5, "one way"},
    {"event_polled", NULL, ways_shared, 0, 0.5, "one way"},
    {"pipe_latency", NULL, ways_pipe, 3, 0.5, "one way"},
    {"pipe_inlined", NULL, ways_pipe, 3, 0.5, "one way"},
    {"pipe_64k", NULL, ways_block, 4, 1, "64 KiB"},
    {"shm_latency", NULL, ways_shared, 0, 0.5, "one way"},
    {"lrpc", NULL, ways_rpc, 5, 1, "round trip"},
    {"tlrpc", NULL, ways_rpc, 5, 1, "round trip"},
    {"mach_port", NULL, ways_rpc, 5, 1, "round trip"},
    {"urpc", NULL, ways_socket, 7, 1, "round trip"},
    {"pipe_across", NULL, ways_pipe_across, 8, 0.5, "one way"},
    {"shm_across", NULL, ways_futex_across, 9, 0.5, "one way"},
    {"dirty", linux_dirty, NULL, 0, 1,
     "one page: soft-dirty bit in /proc/self/pagemap, or PAGEMAP_SCAN without it"},
    {"prot1", linux_prot1, NULL, 0, 1, "mprotect of one page"},
    {"prot100", linux_prot100, NULL, 0, 1, "mprotect of 100 pages"},
    {"prot100_remote", linux_prot100_remote, NULL, 0, 1, "mprotect of 100 pages by a thread that polls on the other processor"},
    {"unprot100", linux_unprot100, NULL, 0, 1, "mprotect of 100 pages"},
    {"trap", linux_sigsegv, NULL, 0, 1, "SIGSEGV handler, store to a read-only page"},
    {"appel1", linux_appel1, NULL, 0, 1, "SIGSEGV handler and two mprotect; per page"},
    {"appel2", linux_appel2, NULL, 0, 1, "mprotect of 100, then SIGSEGV and mprotect for each; per page"},
    {"matmul150_int", linux_matmul150_int, NULL, 0, 1, "the guest's Swift"},
    {"matmul150_double", linux_matmul150_double, NULL, 0, 1, "the guest's Swift"},
    {"matmul1024_double", linux_matmul1024_double, NULL, 0, 1, "the guest's Swift, vectors"},
    {"demux_1", linux_demux_1, NULL, 0, 1, "libpcap's interpreter, the filter's program"},
    {"demux_10", linux_demux_10, NULL, 0, 1, "libpcap's interpreter, the filters' programs in turn"},
    {"demux_100", linux_demux_100, NULL, 0, 1, "libpcap's interpreter, the filters' programs in turn"},
    {"demux_1000", linux_demux_1000, NULL, 0, 1, "libpcap's interpreter, the filters' programs in turn"},
    {"demux_10000", linux_demux_10000, NULL, 0, 1, "libpcap's interpreter, the filters' programs in turn"},
    {"filter_insert", linux_filter_insert, NULL, 0, 1, "SO_ATTACH_FILTER of one program, which Linux compiles"},
    {"pathfinder_10", linux_pathfinder_10, NULL, 0, 1, "a PATHFINDER-style matcher in C: shared cells, hashed values, interpreted, with loads as wide as fields"},
    {"pathfinder_10000", linux_pathfinder_10000, NULL, 0, 1, "a PATHFINDER-style matcher in C: shared cells, hashed values, interpreted, with loads as wide as fields"},
    {"udp_rtt", linux_udp_rtt, NULL, 0, 1, "recvfrom and sendto in a namespace at the other end of a veth pair"},
    {"udp_rtt_beside_9", linux_udp_rtt_beside_9, NULL, 0, 1, "the same beside nine processes that compute on its processor"},
    {"machine_start", linux_spawn_first, NULL, 0, 1,
     "posix_spawn of the smallest static program to its first instruction"},
    {"environment_create", linux_fork_first, NULL, 0, 1,
     "fork in the smallest program to the child's first instruction"},
    {"environment_create_pooled", linux_fork_first, NULL, 0, 1,
     "fork, as above: Linux keeps no pool of processes"},
    {"launch_hello", linux_spawn_hello, NULL, 0, 1,
     "posix_spawn of the smallest static hello, its output read, waited for"},
    {"spawn_wait", linux_spawn_wait, NULL, 0, 1, "posix_spawn of the smallest static program, waited for"},
    {"spawn_apart", linux_spawn_wait, NULL, 0, 1, "posix_spawn of the smallest static program, waited for"},
    {"alive_memory", linux_alive_memory, NULL, 0, 1,
     "1,000 processes of the smallest static program that wait for input: what the kernel keeps for each"},
    {"parked_memory", linux_alive_memory, NULL, 0, 1, "the same: a process that waits keeps all it has"},
    {"slice_error", linux_slice_error, NULL, 0, 1, "two processes that compute, as nice as 0 and 5"},
    {"stride_error", linux_stride_error, NULL, 0, 1, "three processes that compute, as nice as 0, 2 and 5"},
    {"thread_switch", NULL, ways_thread, 6, 0.5, "one way"},
    {"global_throughput", linux_global_throughput, NULL, 0, 1, "the same jobs in processes made by fork"},
    {"global_latency", linux_global_latency, NULL, 0, 1, "the same jobs in processes made by fork"},
    {"global_unfairness", linux_global_unfairness, NULL, 0, 1, "the same jobs in processes made by fork"},
};
static double event_injected(struct bench_linux *l, uint32_t iterations) {
  return linux_signal(l, iterations, CROSS);
}
static const struct row row_event_injected = {
    "event_injected", event_injected, NULL, 0, 1, "kill() to a process that computes on the other processor; one way"};

static const struct row *find(const char *name) {
  if (!strcmp(name, row_event_injected.name)) return &row_event_injected;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (!strcmp(rows[i].name, name)) return &rows[i];
  return NULL;
}

int bench_linux_open(struct bench_linux **out) {
  struct bench_linux *l = calloc(1, sizeof *l);
  *out = NULL;
  if (!l) return -ENOMEM;
  l->image = l->crowd_in = -1;
  l->series = calloc(LINUX_SERIES_LINES * LINUX_SERIES_POINTS, sizeof *l->series);
  void *shared = mmap(NULL, sizeof *l->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int r = shared == MAP_FAILED ? -errno : l->series ? linux_make_image(l) : -ENOMEM;
  l->shared = shared == MAP_FAILED ? NULL : shared;
  if (r) bench_linux_close(l);
  else *out = l;
  return r;
}
void bench_linux_close(struct bench_linux *l) {
  if (!l) return;
  linux_drop_crowd(l);
  linux_drop_image(l);
  free(l->series);
  if (l->shared) munmap(l->shared, sizeof *l->shared);
  free(l);
}

// The winner is the fastest of three short tries of each way, and stays it.
static double hold_contest(struct bench_linux *l, const struct row *row) {
  double best = -EOPNOTSUPP;
  for (int i = 0; row->ways[i].run; i++)
    for (int k = 0; k < 3; k++) {
      double ns = row->ways[i].run(l, 200, row->ways[i].which);
      if (ns < 0 || (best >= 0 && ns >= best)) continue;
      best = ns;
      l->best[row->contest] = i + 1;
    }
  return best;
}
static double run(struct bench_linux *l, const struct row *row, uint32_t iterations) {
  if (row->run) return row->run(l, iterations);
  if (!l->best[row->contest]) {
    double held = hold_contest(l, row);
    if (held < 0) return held;
  }
  const struct way *way = &row->ways[l->best[row->contest] - 1];
  double ns = way->run(l, iterations, way->which);
  return ns < 0 ? ns : ns * row->share;
}

double bench_linux_run(struct bench_linux *l, const char *name, uint32_t iterations) {
  const struct row *row = find(name);
  if (!row) return NAN;
  if (!iterations) return -EINVAL;
  struct bench_place place;
  int r = bench_pin(0, &place);
  if (r) return r;
  double ns = run(l, row, iterations);
  bench_unpin(&place);
  return ns;
}

const char *bench_linux_describe(struct bench_linux *l, const char *name) {
  static char text[128];
  const struct row *row = find(name);
  if (!row) return NULL;
  if (row->run) return row->description;
  int winner = l->best[row->contest];
  snprintf(text, sizeof text, "%s; %s", winner ? row->ways[winner - 1].description : "the best of several ways",
           row->description);
  return text;
}

const double *bench_linux_series(struct bench_linux *l, const char *name, int *lines, int *points) {
  if (strcmp(name, "stride_error")) return NULL;
  *lines = LINUX_SERIES_LINES;
  *points = LINUX_SERIES_POINTS;
  return l->series;
}
