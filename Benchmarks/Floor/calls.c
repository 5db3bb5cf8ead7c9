#include "floor.h"

#include <errno.h>

// The lines of the ring, as the host sees them.
static volatile uint32_t *submitted(struct bench_floor *floor, uint64_t line) {
  return (volatile uint32_t *)(floor->vm.memory + PAGE_SUBMIT + line * 64 + SEQUENCE_OFFSET);
}
static volatile uint32_t *completed(struct bench_floor *floor, uint64_t line) {
  return (volatile uint32_t *)(floor->vm.memory + PAGE_COMPLETE + line * 64 + SEQUENCE_OFFSET);
}

// Answers `requests` requests, one after another, in `lines` lines.
static int answer(struct bench_floor *floor, uint64_t requests, uint64_t lines) {
  struct bench_deadline deadline = bench_deadline_after(BENCH_PATIENCE);
  for (uint64_t n = 1; n <= requests; n++) {
    volatile uint32_t *request = submitted(floor, (n - 1) & (lines - 1));
    while (__atomic_load_n(request, __ATOMIC_ACQUIRE) != (uint32_t)n)
      if (bench_expired(&deadline)) return -ETIMEDOUT;
    __atomic_store_n(completed(floor, (n - 1) & (lines - 1)), (uint32_t)n, __ATOMIC_RELEASE);
  }
  return 0;
}
static int serve_one(struct bench_floor *floor, uint64_t requests) { return answer(floor, requests, 1); }
static int serve_batch(struct bench_floor *floor, uint64_t requests) { return answer(floor, requests, 32); }

double row_procedure_call(struct bench_floor *floor, uint32_t iterations) {
  return floor_each(floor_loop(floor, floor_procedure_call, iterations, NULL, 0), iterations);
}
double row_clock(struct bench_floor *floor, uint32_t iterations) {
  return floor_each(floor_loop(floor, floor_clock, iterations, NULL, 0), iterations);
}
double row_exocall(struct bench_floor *floor, uint32_t iterations) {
  return floor_each(floor_loop(floor, floor_exocall, iterations, serve_one, iterations), iterations);
}
double row_exocall_batch32(struct bench_floor *floor, uint32_t iterations) {
  uint64_t batches = (iterations + 31) / 32;
  double ns = floor_loop(floor, floor_exocall_batch32, batches, serve_batch, batches * 32);
  return floor_each(ns, (double)(batches * 32));
}
double row_event_polled(struct bench_floor *floor, uint32_t iterations) {
  return floor_each(row_exocall(floor, iterations), 2);
}
