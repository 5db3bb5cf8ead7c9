// Appel and Li's primitives with mprotect and SIGSEGV, on 100 pages that have been written, so that no fault is one
// of absence. Huge pages are refused: a change of protection would have to split them.
#include "linux.h"

#include <pthread.h>
#include <sys/mman.h>

#define PAGES 100
#define PAGE 4096

static char *pages;
static volatile uint64_t faults;
static uint32_t current, previous;

static int prepare(void) {
  if (!pages) {
    void *m = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) return -errno;
    madvise(m, PAGES * PAGE, MADV_NOHUGEPAGE);
    pages = m;
  }
  return mprotect(pages, PAGES * PAGE, PROT_READ | PROT_WRITE) ? -errno : 0;
}
static void touch(void) {
  for (int i = 0; i < PAGES; i++) ++*(volatile char *)(pages + i * PAGE);
}
static void protect(uint32_t first, uint32_t count) { mprotect(pages + first * PAGE, count * PAGE, PROT_READ); }
static void unprotect(uint32_t first, uint32_t count) {
  mprotect(pages + first * PAGE, count * PAGE, PROT_READ | PROT_WRITE);
}
static uint32_t rounds_of(uint32_t iterations) { return (iterations + PAGES - 1) / PAGES; }
// A fixed permutation: 37 has no factor in common with 100.
static uint32_t order(uint32_t i) { return i * 37 % PAGES; }

double linux_prot1(struct bench_linux *l, uint32_t iterations) {
  (void)l;
  int r = prepare();
  if (r) return r;
  uint32_t rounds = rounds_of(iterations);
  uint64_t total = 0;
  for (uint32_t round = 0; round < rounds; round++) {
    touch();
    uint64_t begin = bench_ticks();
    for (uint32_t i = 0; i < PAGES; i++) protect(i, 1);
    total += bench_ticks() - begin;
    unprotect(0, PAGES);
  }
  return linux_each(total, (double)rounds * PAGES);
}
static double whole(uint32_t iterations, bool restoring) {
  int r = prepare();
  if (r) return r;
  uint64_t total = 0;
  for (uint32_t i = 0; i < iterations; i++) {
    touch();
    uint64_t begin = bench_ticks();
    protect(0, PAGES);
    uint64_t middle = bench_ticks();
    unprotect(0, PAGES);
    total += restoring ? bench_ticks() - middle : middle - begin;
  }
  return linux_each(total, iterations);
}
double linux_prot100(struct bench_linux *l, uint32_t iterations) { return (void)l, whole(iterations, false); }
double linux_unprot100(struct bench_linux *l, uint32_t iterations) { return (void)l, whole(iterations, true); }

// By a thread that polls on the other processor, as Exo's service thread does: this processor has the pages in its TLB,
// and must be told.
struct request {
  _Alignas(64) uint32_t asked;
  _Alignas(64) uint32_t done;
  int error;
};
static void *protector(void *argument) {
  struct request *request = argument;
  struct bench_place place;
  request->error = bench_pin(CROSS, &place);
  __atomic_store_n(&request->done, 1, __ATOMIC_RELEASE);
  uint32_t last = 1, now;
  while ((now = __atomic_load_n(&request->asked, __ATOMIC_ACQUIRE)) != UINT32_MAX) {
    if (now == last) continue;
    protect(0, PAGES);
    last = now;
    __atomic_store_n(&request->done, now, __ATOMIC_RELEASE);
  }
  return NULL;
}
static void ask(struct request *request, uint32_t number) {
  __atomic_store_n(&request->asked, number, __ATOMIC_RELEASE);
  while (__atomic_load_n(&request->done, __ATOMIC_ACQUIRE) != number) {}
}
double linux_prot100_remote(struct bench_linux *l, uint32_t iterations) {
  (void)l;
  int r = prepare();
  if (r) return r;
  if (bench_processor_count() < 2) return -ENODEV;
  struct request request = {.asked = 1};
  pthread_t thread;
  r = pthread_create(&thread, NULL, protector, &request);
  if (r) return -r;
  while (__atomic_load_n(&request.done, __ATOMIC_ACQUIRE) != 1) {}
  uint64_t total = 0;
  for (uint32_t i = 0; i < iterations && !request.error; i++) {
    touch();
    uint64_t begin = bench_ticks();
    ask(&request, i + 2);
    total += bench_ticks() - begin;
    unprotect(0, PAGES);
  }
  __atomic_store_n(&request.asked, UINT32_MAX, __ATOMIC_RELEASE);
  pthread_join(thread, NULL);
  return request.error ? request.error : linux_each(total, iterations);
}

static void on_appel1(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info, (void)context;
  protect(previous, 1);
  unprotect(current, 1);
  faults++;
}
static void on_appel2(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info, (void)context;
  unprotect(current, 1);
  faults++;
}

double linux_appel1(struct bench_linux *l, uint32_t iterations) {
  (void)l;
  struct sigaction before;
  int r = prepare();
  if (r) return r;
  touch();
  protect(0, PAGES);
  previous = order(PAGES - 1);
  unprotect(previous, 1);
  faults = 0;
  linux_handle(SIGSEGV, on_appel1, &before);
  uint64_t begin = bench_ticks();
  for (uint32_t i = 0; i < iterations; i++) {
    current = order(i % PAGES);
    ++*(volatile char *)(pages + current * PAGE);
    previous = current;
  }
  uint64_t ticks = bench_ticks() - begin;
  linux_unhandle(SIGSEGV, &before);
  return faults == iterations ? linux_each(ticks, iterations) : -EPROTO;
}
double linux_appel2(struct bench_linux *l, uint32_t iterations) {
  (void)l;
  struct sigaction before;
  int r = prepare();
  if (r) return r;
  uint32_t rounds = rounds_of(iterations);
  uint64_t total = 0;
  faults = 0;
  linux_handle(SIGSEGV, on_appel2, &before);
  for (uint32_t round = 0; round < rounds; round++) {
    touch();
    uint64_t begin = bench_ticks();
    protect(0, PAGES);
    for (uint32_t i = 0; i < PAGES; i++) {
      current = order(i);
      ++*(volatile char *)(pages + current * PAGE);
    }
    total += bench_ticks() - begin;
  }
  linux_unhandle(SIGSEGV, &before);
  return faults == (uint64_t)rounds * PAGES ? linux_each(total, (double)rounds * PAGES) : -EPROTO;
}
