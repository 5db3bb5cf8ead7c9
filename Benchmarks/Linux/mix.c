// Global performance: the same list of jobs as in guests/bench/Mix.swift, each a process of its own, at most eight at
// a time on two processors, between which Linux moves them as it likes. A job begins with fork, which copies this process's
// tables: a percent or two of a job.
#include "linux.h"
#include "products.h"

#include "bench_work.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KINDS = 4, JOBS = 24, CONCURRENCY = 8 };

// A job's own line: when it began and ended.
struct job {
  _Alignas(64) uint64_t began, ended;
};

static int multiply(void) {
  enum { SIZE = 150 };
  int32_t *a = malloc(3 * SIZE * SIZE * sizeof *a);
  if (!a) return -ENOMEM;
  for (int i = 0; i < 3 * SIZE * SIZE; i++) a[i] = i % 7;
  for (int n = 0; n < 20; n++) bench_multiply_int(a, a + SIZE * SIZE, a + 2 * SIZE * SIZE, SIZE);
  free(a);
  return 0;
}

// Memory taken from the kernel, filled, read over and given back.
static int digest(void) {
  enum { BYTES = 256 * 4096 };
  for (int n = 0; n < 8; n++) {
    uint32_t *words = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED) return -errno;
    uint32_t sum = bench_digest(words, BYTES / 4);
    munmap(words, BYTES);
    if (!sum) return -EPROTO;
  }
  return 0;
}

static int naps(void) {
  struct timespec due;
  clock_gettime(CLOCK_MONOTONIC, &due);
  for (int n = 0; n < 10; n++) {
    due.tv_nsec += 2000000;
    if (due.tv_nsec >= 1000000000) due.tv_nsec -= 1000000000, due.tv_sec++;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) continue;
    volatile uint32_t sink = bench_ponder(20000);
    (void)sink;
  }
  return 0;
}

static int work(struct bench_linux *l, int job) {
  switch (job % KINDS) {
  case 0: return multiply();
  case 1: return digest();
  case 2: return linux_appel2(l, 2000) < 0 ? -EPROTO : 0;
  default: return naps();
  }
}

// Which processors the caller may use besides the one it is pinned to: the two that the other contestant has.
static void use_both(void) {
  cpu_set_t both;
  CPU_ZERO(&both);
  for (int which = 0; which < 2; which++)
    if (bench_processor(which) >= 0) CPU_SET(bench_processor(which), &both);
  sched_setaffinity(0, sizeof both, &both);
}

// Runs in a process that has no other children, whose ends would be waited for too.
static int compete_alone(struct bench_linux *l, struct job *jobs) {
  int running = 0, next = 0, failed = 0;
  while ((next < JOBS && !failed) || running) {
    while (next < JOBS && running < CONCURRENCY && !failed) {
      jobs[next].began = bench_ticks();
      pid_t child = fork();
      if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        use_both();
        int r = work(l, next);
        jobs[next].ended = bench_ticks();
        _exit(r ? 1 : 0);
      }
      if (child < 0) failed = -errno;
      else running++, next++;
    }
    int status = 0;
    if (running && waitpid(-1, &status, 0) > 0) {
      running--;
      if (status) failed = -EPROTO;
    }
  }
  return failed;
}
static int compete(struct bench_linux *l, struct job *jobs) {
  pid_t child = fork();
  if (child < 0) return -errno;
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(-compete_alone(l, jobs));
  }
  int status = 0;
  if (waitpid(child, &status, 0) < 0) return -errno;
  return WIFEXITED(status) ? -WEXITSTATUS(status) : -EPROTO;
}

enum figure { THROUGHPUT, LATENCY, UNFAIRNESS };

static double mix(struct bench_linux *l, enum figure figure) {
  if (bench_processor_count() < 2) return -ENODEV;
  size_t size = JOBS * sizeof(struct job);
  struct job *jobs = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (jobs == MAP_FAILED) return -errno;
  memset(jobs, 0, size);
  uint64_t begin = bench_ticks(), last = begin, longest = 0;
  double result = compete(l, jobs), worst = 0, sums[KINDS] = {0};
  for (int i = 0; i < JOBS; i++) {
    uint64_t time = jobs[i].ended - jobs[i].began;
    if (jobs[i].ended > last) last = jobs[i].ended;
    if (time > longest) longest = time;
    sums[i % KINDS] += (double)time;
  }
  for (int i = 0; i < JOBS; i++) {
    double mean = sums[i % KINDS] / (JOBS / KINDS);
    double deviation = ((double)(jobs[i].ended - jobs[i].began) - mean) / mean * 100;
    if (deviation < 0) deviation = -deviation;
    if (deviation > worst) worst = deviation;
  }
  munmap(jobs, size);
  if (result < 0) return result;
  if (figure == THROUGHPUT) return JOBS * 1e9 / bench_nanoseconds((double)(last - begin));
  return figure == LATENCY ? bench_nanoseconds((double)longest) : worst;
}
double linux_global_throughput(struct bench_linux *l, uint32_t n) { return (void)n, mix(l, THROUGHPUT); }
double linux_global_latency(struct bench_linux *l, uint32_t n) { return (void)n, mix(l, LATENCY); }
double linux_global_unfairness(struct bench_linux *l, uint32_t n) { return (void)n, mix(l, UNFAIRNESS); }
