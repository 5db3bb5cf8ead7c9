// How evenly Linux divides a processor by niceness, which is what an unprivileged program has: each step is a factor of about
// 1.25, so 0, 2 and 5 weigh 1024, 655 and 335, the nearest there is to 3:2:1, and 0 and 5 are the nearest to 3:1. All
// parties are of one session: where the kernel groups processes by session, they compete within one group.
#include "linux.h"

#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { PARTIES = 3, STEP = 10000000, WARM = 10 };

static void set_time(struct timespec *due, long nanoseconds) {
  due->tv_nsec += nanoseconds;
  while (due->tv_nsec >= 1000000000) due->tv_nsec -= 1000000000, due->tv_sec++;
}

// The counters lie in the shared page behind its named lines.
static struct line *counter(struct shared *shared, int party) { return &shared->more[party]; }

static void count_turns(struct shared *shared, int party, int niceness) {
  setpriority(PRIO_PROCESS, 0, niceness);
  uint64_t turns = 0;
  while (!__atomic_load_n(&shared->request.word, __ATOMIC_ACQUIRE)) sched_yield();
  for (;;) {
    for (int i = 0; i < 64; i++) {
      turns++;
      __asm__ volatile("" : "+r"(turns));
    }
    __atomic_store_n(&counter(shared, party)->word, turns, __ATOMIC_RELEASE);
  }
}
#define PARTY(name, party, niceness)                                                                             \
  static void name(struct shared *shared, int from, int to) { (void)from, (void)to, count_turns(shared, party, niceness); }
PARTY(first, 0, 0)
PARTY(second_of_two, 1, 5)
PARTY(second_of_three, 1, 2)
PARTY(third, 2, 5)

// Deviation in percent of the whole, after so many steps of 10 ms; with `series`, a line of time and counts for each step.
static double deviation(struct bench_linux *l, int parties, const double *shares, int steps, double *series) {
  static void (*const bodies[2][PARTIES])(struct shared *, int, int) = {{first, second_of_two, NULL},
                                                                        {first, second_of_three, third}};
  struct peer peers[PARTIES] = {{0}};
  int r = 0, started = 0;
  for (; started < parties && !r; started++)
    r = linux_peer_start_more(l, &peers[started], SAME, 0, bodies[parties - 2][started], started > 0);
  struct bench_place place;
  if (!r && bench_processor_count() > 1) bench_pin(1, &place);
  struct timespec due;
  uint64_t before[PARTIES] = {0}, after[PARTIES] = {0}, begin = 0;
  if (!r) __atomic_store_n(&l->shared->request.word, 1, __ATOMIC_RELEASE);
  clock_gettime(CLOCK_MONOTONIC, &due);
  for (int step = 0; step < steps + WARM && !r; step++) {
    set_time(&due, STEP);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) continue;
    uint64_t now = bench_ticks();
    for (int party = 0; party < parties; party++) {
      uint64_t turns = __atomic_load_n(&counter(l->shared, party)->word, __ATOMIC_ACQUIRE);
      if (step < WARM) before[party] = turns;
      else if (series) series[(step - WARM) * (1 + parties) + 1 + party] = (double)(turns - before[party]);
      after[party] = turns - before[party];
    }
    if (step < WARM) begin = now;
    else if (series) series[(step - WARM) * (1 + parties)] = bench_nanoseconds((double)(now - begin)) / 1000;
  }
  if (bench_processor_count() > 1) bench_unpin(&place);
  for (int party = 0; party < started; party++) linux_peer_stop(&peers[party]);
  if (r) return r;
  double sum = 0, worst = 0;
  for (int party = 0; party < parties; party++) sum += (double)after[party];
  if (sum <= 0) return -EPROTO;
  for (int party = 0; party < parties; party++) {
    double apart = ((double)after[party] / sum - shares[party]) * 100;
    if (apart < 0) apart = -apart;
    if (apart > worst) worst = apart;
  }
  return worst;
}

double linux_slice_error(struct bench_linux *l, uint32_t iterations) {
  (void)iterations;
  static const double shares[] = {0.75, 0.25};
  return deviation(l, 2, shares, 96, NULL);
}
double linux_stride_error(struct bench_linux *l, uint32_t iterations) {
  (void)iterations;
  static const double shares[] = {3.0 / 6, 2.0 / 6, 1.0 / 6};
  return deviation(l, 3, shares, LINUX_SERIES_POINTS, l->series);
}
