// What passes through the host: one vCPU for another on one thread, and a vCPU interrupted from another processor.
#include "floor.h"

#include <errno.h>
#include <sys/ioctl.h>

static double run_in_turn(struct worker *worker, void *argument) {
  struct bench_floor *floor = worker->floor;
  uint32_t turns = *(uint32_t *)argument;
  int r = floor->other.fd >= 0 ? 0 : vcpu_open(floor, &floor->vm, 2, TABLES + TABLES_STRIDE, &floor->other);
  if (!r) r = vcpu_start_at(&floor->vcpu[0], floor_leave, 0, PAGE_STACK);
  if (!r) r = vcpu_start_at(&floor->other, floor_leave, 0, PAGE_STACK + 4096);
  for (int i = 0; i < 8 && !r; i++) r = vcpu_run(worker, i & 1 ? &floor->other : &floor->vcpu[0]);
  uint64_t begin = bench_ticks();
  for (uint32_t i = 0; i < turns && !r; i++) r = vcpu_run(worker, i & 1 ? &floor->other : &floor->vcpu[0]);
  return r ? r : bench_nanoseconds((double)(bench_ticks() - begin)) / turns;
}
double row_leave_and_enter(struct bench_floor *floor, uint32_t iterations) {
  worker_begin(&floor->worker[0], run_in_turn, &iterations);
  return worker_end(&floor->worker[0], false);
}

static double run_interrupted(struct worker *worker, void *argument) {
  struct vcpu *vcpu = &worker->floor->vcpu[0];
  int r = vcpu_start_at(vcpu, floor_compute, *(uint32_t *)argument, PAGE_STACK);
  vcpu->run->immediate_exit = 0;
  worker->running = vcpu->run;
  while (!r) {
    if (!ioctl(vcpu->fd, KVM_RUN, 0)) break;
    if (errno != EINTR) r = -errno;
    else if (worker->cancelled) r = -ETIMEDOUT;
    else {
      struct kvm_regs registers;
      vcpu->run->immediate_exit = 0;
      if (ioctl(vcpu->fd, KVM_GET_REGS, &registers)) r = -errno;
      registers.rip = PAGE_CODE + (uint64_t)(floor_interrupted - floor_code_start);
      if (!r && ioctl(vcpu->fd, KVM_SET_REGS, &registers)) r = -errno;
    }
  }
  worker->running = NULL;
  return r ? r : vcpu->run->exit_reason == KVM_EXIT_MMIO ? 0 : -EPROTO;
}

static bool wait_for(uint64_t *word, uint64_t value, struct bench_deadline *deadline) {
  while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value)
    if (bench_expired(deadline)) return false;
  return true;
}
// From before the signal is sent to the first instruction at the handler, whose first act is to read the clock.
double row_event_injected(struct bench_floor *floor, uint32_t iterations) {
  if (bench_processor_count() < 2) return -ENODEV;
  uint64_t *seen = (uint64_t *)(floor->vm.memory + RESULT_SEEN), *count = (uint64_t *)(floor->vm.memory + RESULT_COUNT),
           *stamp = (uint64_t *)(floor->vm.memory + RESULT_TICKS), total = 0;
  *seen = *count = 0;
  struct bench_deadline deadline = bench_deadline_after(BENCH_PATIENCE);
  struct bench_place place;
  bench_pin(1, &place);
  worker_begin(&floor->worker[0], run_interrupted, &iterations);
  bool answers = wait_for(seen, 1, &deadline);
  for (uint64_t n = 1; n <= iterations && answers; n++) {
    uint64_t begin = bench_ticks();
    worker_kick(&floor->worker[0]);
    answers = wait_for(count, n, &deadline);
    total += *stamp - begin;
  }
  bench_unpin(&place);
  double result = worker_end(&floor->worker[0], !answers);
  return result < 0 ? result : floor_each(bench_nanoseconds((double)total), iterations);
}
