#include "floor.h"

#include <errno.h>

static double run_peer(struct worker *worker, void *argument) {
  struct vcpu *vcpu = &worker->floor->vcpu[1];
  int r = vcpu_start_at(vcpu, argument, 0, PAGE_STACK + 4096);
  return r ? r : vcpu_run(worker, vcpu);
}

// Two virtual processors in two address spaces, on two processors, with one line each way between them.
static double two(struct bench_floor *floor, uint32_t iterations, const uint8_t *loop, const uint8_t *peer_loop) {
  if (bench_processor_count() < 2) return -ENODEV;
  uint32_t *line = (uint32_t *)(floor->vm.memory + PAGE_SUBMIT + SEQUENCE_OFFSET);
  *(uint32_t *)(floor->vm.memory + PAGE_COMPLETE + SEQUENCE_OFFSET) = 0;
  *(uint32_t *)(floor->vm.memory + PAGE_COMPLETE + TAKEN_OFFSET) = 0;
  __atomic_store_n(line, 0, __ATOMIC_SEQ_CST);
  worker_begin(&floor->worker[1], run_peer, (void *)peer_loop);
  double ns = floor_loop(floor, loop, iterations, NULL, 0);
  __atomic_store_n(line, ASK_STOP, __ATOMIC_SEQ_CST);
  double peer = worker_end(&floor->worker[1], ns < 0);
  return ns < 0 ? ns : peer < 0 ? peer : ns / iterations;
}
double row_pct_cross_core(struct bench_floor *floor, uint32_t iterations) {
  return two(floor, iterations, floor_exocall, floor_echo);
}
double row_pipe_64k(struct bench_floor *floor, uint32_t iterations) {
  return two(floor, iterations, floor_pipe_64k, floor_take_64k);
}

// One virtual processor: two ring-0 instructions change the address space.
double row_pct_same_core(struct bench_floor *floor, uint32_t iterations) {
  vm_gate_stub(&floor->vm, 3, floor_stub_switch, VM_STACK_NUCLEUS);
  // An even number of turns ends where the run began.
  uint32_t turns = (iterations + 1) & ~1u;
  double result = floor_each(floor_loop(floor, floor_pct_same_core, turns, NULL, 0), turns);
  vm_gate_default(&floor->vm, 3);
  return result;
}
// There and back.
double row_pct_return(struct bench_floor *floor, uint32_t iterations) {
  double one = row_pct_same_core(floor, iterations);
  return one < 0 ? one : 2 * one;
}
