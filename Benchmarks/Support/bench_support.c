#include "bench_support.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static double nanoseconds_per_tick;
static int processors[2] = {-1, -1}, processor_count;

static uint64_t monotonic(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void prepare(void) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    for (int i = 0; i < CPU_SETSIZE; i++)
      if (CPU_ISSET(i, &allowed)) {
        if (processor_count < 2) processors[processor_count] = i;
        processor_count++;
      }
  uint64_t time = monotonic(), ticks = bench_ticks(), end;
  do end = monotonic();
  while (end - time < 20000000);
  nanoseconds_per_tick = (double)(end - time) / (double)(bench_ticks() - ticks);
}

double bench_nanoseconds(double ticks) {
  pthread_once(&once, prepare);
  return ticks * nanoseconds_per_tick;
}
int bench_processor_count(void) {
  pthread_once(&once, prepare);
  return processor_count;
}
int bench_processor(int which) {
  pthread_once(&once, prepare);
  return which < 2 ? processors[which] : -1;
}

int bench_pin(int which, struct bench_place *place) {
  int processor = bench_processor(which);
  if (processor < 0) return -ENODEV;
  if (sched_getaffinity(0, sizeof place->saved, &place->saved)) return -errno;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(processor, &one);
  return sched_setaffinity(0, sizeof one, &one) ? -errno : 0;
}
void bench_unpin(const struct bench_place *place) { sched_setaffinity(0, sizeof place->saved, &place->saved); }

struct bench_deadline bench_deadline_after(double seconds) {
  struct bench_deadline deadline = {.turns = 0};
  deadline.end = bench_ticks() + (uint64_t)(seconds * 1e9 / bench_nanoseconds(1));
  return deadline;
}

// Bytes by the name before the colon; below 0 if there is none.
static double size_in(const char *path, const char *name) {
  FILE *file = fopen(path, "re");
  if (!file) return -1;
  char line[256];
  double size = -1;
  size_t length = strlen(name);
  while (size < 0 && fgets(line, sizeof line, file)) {
    double kibibytes;
    if (!strncmp(line, name, length) && line[length] == ':' && sscanf(line + length + 1, "%lf kB", &kibibytes) == 1)
      size = kibibytes * 1024;
  }
  fclose(file);
  return size;
}
// Pages that processors keep for themselves, in bytes: free, but no part of MemFree, and at times hundreds of mebibytes.
static double kept_by_processors(void) {
  FILE *file = fopen("/proc/zoneinfo", "re");
  if (!file) return -1;
  char line[256];
  double pages = 0;
  while (fgets(line, sizeof line, file)) {
    double count;
    if (sscanf(line, " count: %lf", &count) == 1) pages += count;
  }
  fclose(file);
  return pages * (double)sysconf(_SC_PAGESIZE);
}
double bench_memory_in_use(bool with_children) {
  static const char *const not_ours[] = {"MemFree", "Buffers", "Cached", "SReclaimable", "AnonPages"};
  double total = size_in("/proc/meminfo", "MemTotal"), own = size_in("/proc/self/status", "RssAnon"),
         kept = kept_by_processors();
  if (total < 0 || own < 0 || kept < 0) return -1;
  for (size_t i = 0; i < sizeof not_ours / sizeof *not_ours; i++) {
    double size = size_in("/proc/meminfo", not_ours[i]);
    if (size < 0) return -1;
    total -= size;
  }
  if (!with_children) {
    double tables = size_in("/proc/meminfo", "PageTables"), own_tables = size_in("/proc/self/status", "VmPTE"),
           stacks = size_in("/proc/meminfo", "KernelStack");
    if (tables < 0 || own_tables < 0 || stacks < 0) return -1;
    total += own_tables - tables - stacks;
  }
  return total - kept + own;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
double bench_slope(const double *x, const double *y, int count) {
  double slopes[BENCH_SLOPE_POINTS * (BENCH_SLOPE_POINTS - 1) / 2];
  int n = 0;
  if (count > BENCH_SLOPE_POINTS) count = BENCH_SLOPE_POINTS;
  for (int i = 0; i < count; i++)
    for (int j = i + 1; j < count; j++)
      if (x[i] != x[j]) slopes[n++] = (y[j] - y[i]) / (x[j] - x[i]);
  if (n == 0) return 0;
  qsort(slopes, (size_t)n, sizeof *slopes, by_size);
  return n & 1 ? slopes[n / 2] : (slopes[n / 2 - 1] + slopes[n / 2]) / 2;
}
