#include "floor.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define PAGES 100
#define WRITABLE 2ull

// Protect: entries made read-only by atomic read-modify-writes (which keep accessed and dirty bits), then one
// KVM_CLEAR_DIRTY_LOG over them, which write-protects the translations that the processor really uses.
static int protect(struct bench_floor *floor, uint32_t first, uint32_t count) {
  uint64_t bits[2] = {0, 0};
  for (uint32_t page = first; page < first + count; page++) {
    __atomic_fetch_and(vm_page_entry(&floor->vm, page), ~WRITABLE, __ATOMIC_SEQ_CST);
    bits[page / 64] |= 1ull << (page % 64);
  }
  struct kvm_clear_dirty_log clear = {.slot = 1, .first_page = first / 64 * 64};
  clear.num_pages = ((first + count + 63) & ~63u) - (uint32_t)clear.first_page;
  clear.dirty_bitmap = &bits[first / 64];
  return ioctl(floor->vm.fd, KVM_CLEAR_DIRTY_LOG, &clear) ? -errno : 0;
}
// Unprotect needs no flush: the first write finds the entry changed.
static int unprotect(struct bench_floor *floor, uint32_t first, uint32_t count) {
  for (uint32_t page = first; page < first + count; page++)
    __atomic_fetch_or(vm_page_entry(&floor->vm, page), WRITABLE, __ATOMIC_SEQ_CST);
  return 0;
}

static int serve(struct bench_floor *floor, uint64_t requests) {
  struct bench_deadline deadline = bench_deadline_after(BENCH_PATIENCE);
  int failed = 0;
  for (uint64_t n = 1; n <= requests; n++) {
    uint8_t *line = floor->vm.memory + PAGE_SUBMIT + ((n - 1) & 63) * 64;
    while (__atomic_load_n((uint32_t *)(line + SEQUENCE_OFFSET), __ATOMIC_ACQUIRE) != (uint32_t)n)
      if (bench_expired(&deadline)) return -ETIMEDOUT;
    uint32_t what = *(uint32_t *)(line + ASK_OFFSET), first = what >> 8 & 0x7f, count = what & 0xff;
    int r = what & ASK_PROTECT ? protect(floor, first, count) : unprotect(floor, first, count);
    if (r) failed = r;
    uint8_t *answer = floor->vm.memory + PAGE_COMPLETE + ((n - 1) & 63) * 64;
    __atomic_store_n((uint32_t *)(answer + SEQUENCE_OFFSET), (uint32_t)n, __ATOMIC_RELEASE);
  }
  return failed;
}

// A fixed permutation of the pages: 37 has no factor in common with 100.
static void set_order(struct bench_floor *floor) {
  for (uint32_t i = 0; i < PAGES; i++) floor->vm.memory[RESULT_ORDER + i] = (uint8_t)(i * 37 % PAGES);
}
// A loop whose `faults` must all have been taken.
static double faulting(struct bench_floor *floor, const uint8_t *loop, const uint8_t *handler, uint64_t count,
                       uint64_t requests, uint64_t faults) {
  uint64_t *counted = (uint64_t *)(floor->vm.memory + RESULT_COUNT);
  *counted = 0;
  set_order(floor);
  vm_gate_user(&floor->vm, 14, handler);
  double ns = floor_loop(floor, loop, count, serve, requests);
  vm_gate_default(&floor->vm, 14);
  return ns < 0 ? ns : *counted == faults ? ns : -EPROTO;
}

static uint32_t rounds_of(uint32_t iterations) { return (iterations + PAGES - 1) / PAGES; }

double row_prot1(struct bench_floor *floor, uint32_t iterations) {
  uint32_t rounds = rounds_of(iterations);
  double ns = floor_loop(floor, floor_prot1, rounds, serve, (uint64_t)rounds * (PAGES + 1));
  return floor_each(ns, (double)rounds * PAGES);
}
double row_prot100(struct bench_floor *floor, uint32_t iterations) {
  return floor_each(floor_loop(floor, floor_prot100, iterations, serve, 2ull * iterations), iterations);
}
double row_unprot100(struct bench_floor *floor, uint32_t iterations) {
  return floor_each(floor_loop(floor, floor_unprot100, iterations, serve, 2ull * iterations), iterations);
}
double row_appel1(struct bench_floor *floor, uint32_t iterations) {
  uint64_t requests = 2ull * iterations + 3;  // before them all protected and one not, after them none
  return floor_each(faulting(floor, floor_appel1, floor_handle_appel1, iterations, requests, iterations),
                    iterations);
}
double row_appel2(struct bench_floor *floor, uint32_t iterations) {
  uint64_t rounds = rounds_of(iterations);
  uint64_t requests = rounds * (PAGES + 1);
  return floor_each(faulting(floor, floor_appel2, floor_handle_appel2, rounds, requests, rounds * PAGES),
                    (double)(rounds * PAGES));
}
double row_dirty(struct bench_floor *floor, uint32_t iterations) {
  uint32_t rounds = rounds_of(iterations);
  double ns = floor_loop(floor, floor_dirty, rounds, NULL, 0);
  uint64_t counted = *(uint64_t *)(floor->vm.memory + RESULT_COUNT);
  if (ns >= 0 && (uint32_t)counted != rounds * PAGES) return -EPROTO;
  return floor_each(ns, (double)rounds * PAGES);
}
