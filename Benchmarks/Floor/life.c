#include "floor.h"

#include <errno.h>
#include <string.h>

// As much memory as a machine gets unless its user says otherwise.
#define MACHINE_BYTES (64u << 20)

// A creation is timed from its first system call, on the measured processor, to the moment when a thread that
// polls on the other processor sees the guest's first store.
struct creation {
  uint32_t *_Atomic line;       // where the store will be
  uint64_t begin;
  struct vm vm;
  struct vcpu vcpu;
  uint64_t root;
  bool pooled;
};

static double finish_run(struct worker *worker, struct creation *creation) {
  int r = vcpu_start_at(&creation->vcpu, floor_first, 0, PAGE_STACK);
  return r ? r : vcpu_run(worker, &creation->vcpu);
}
static uint32_t *seen_line(struct vm *vm) { return (uint32_t *)(vm->memory + RESULT_SEEN); }

static double create_machine(struct worker *worker, void *argument) {
  struct creation *creation = argument;
  creation->begin = bench_ticks();
  int r = vm_open(&creation->vm, worker->floor->kvm, MACHINE_BYTES, false);
  if (r) return r;
  vm_build(&creation->vm);
  vm_build_small_space(&creation->vm, TABLES);
  creation->line = seen_line(&creation->vm);
  r = vcpu_open(worker->floor, &creation->vm, 0, TABLES, &creation->vcpu);
  return r ? r : finish_run(worker, creation);
}
static double create_environment(struct worker *worker, void *argument) {
  struct creation *creation = argument;
  creation->begin = bench_ticks();
  memset(creation->vm.memory + creation->root, 0, 5 * 4096);  // four tables and what stands for its data
  vm_build_small_space(&creation->vm, creation->root);
  int id = (int)((creation->root - POOL) / POOL_STRIDE);
  int r = creation->pooled ? vcpu_reset(worker->floor, &creation->vcpu, creation->root)
                           : vcpu_open(worker->floor, &creation->vm, id, creation->root, &creation->vcpu);
  return r ? r : finish_run(worker, creation);
}
static double close_vcpu(struct worker *worker, void *argument) {
  vcpu_close(worker->floor, &((struct creation *)argument)->vcpu);
  return 0;
}
// A pooled virtual processor has run before.
static double warm_vcpu(struct worker *worker, void *argument) {
  struct creation *creation = argument;
  int r = vcpu_open(worker->floor, &creation->vm, 0, TABLES, &creation->vcpu);
  return r ? r : finish_run(worker, creation);
}

static double on_worker(struct bench_floor *floor, double (*job)(struct worker *, void *), void *argument) {
  worker_begin(&floor->worker[0], job, argument);
  return worker_end(&floor->worker[0], false);
}

// Ticks from the beginning of a creation to its guest's first store.
static double time_creation(struct bench_floor *floor, struct creation *creation,
                            double (*job)(struct worker *, void *)) {
  struct bench_deadline deadline = bench_deadline_after(BENCH_PATIENCE);
  worker_begin(&floor->worker[0], job, creation);
  uint32_t *line;
  uint64_t end = 0;
  while (!(line = creation->line) && !bench_expired(&deadline)) continue;
  while (line && !(end = __atomic_load_n(line, __ATOMIC_ACQUIRE)) && !bench_expired(&deadline)) continue;
  if (end) end = bench_ticks();
  double result = worker_end(&floor->worker[0], !end);
  return result < 0 ? result : (double)(end - creation->begin);
}

static double many(struct bench_floor *floor, uint32_t iterations, bool machine, bool pooled) {
  if (bench_processor_count() < 2) return -ENODEV;
  struct bench_place place;
  bench_pin(1, &place);
  double total = 0, r = 0;
  struct creation creation = {.vm.fd = -1, .vm.file = -1, .vcpu.fd = -1, .pooled = pooled};
  for (uint32_t i = 0; i < iterations && r >= 0; i++) {
    if (machine) {
      creation.line = NULL;
      if ((r = time_creation(floor, &creation, create_machine)) >= 0) total += r;
      on_worker(floor, close_vcpu, &creation);
      vm_close(&creation.vm);
      continue;
    }
    // Every creation gets page-table pages that this machine has not used: a shadow of their former content
    // would have to be removed first. When they are used up, so is the machine.
    uint32_t set = i % POOL_SETS;
    if (set == 0) {
      if (creation.vcpu.fd >= 0) on_worker(floor, close_vcpu, &creation);
      vm_close(&creation.vm);
      if ((r = vm_open(&creation.vm, floor->kvm, MEMORY, false)) < 0) break;
      vm_build(&creation.vm);
      vm_build_space(&creation.vm, TABLES);
      if (pooled && (r = on_worker(floor, warm_vcpu, &creation)) < 0) break;
    }
    creation.root = POOL + set * POOL_STRIDE;
    *seen_line(&creation.vm) = 0;
    creation.line = seen_line(&creation.vm);
    if ((r = time_creation(floor, &creation, create_environment)) >= 0) total += r;
    if (!pooled) on_worker(floor, close_vcpu, &creation);
  }
  if (creation.vcpu.fd >= 0) on_worker(floor, close_vcpu, &creation);
  vm_close(&creation.vm);
  bench_unpin(&place);
  return r < 0 ? r : bench_nanoseconds(total) / iterations;
}

double row_machine_start(struct bench_floor *floor, uint32_t iterations) {
  return many(floor, iterations, true, false);
}
double row_environment_create(struct bench_floor *floor, uint32_t iterations) {
  return many(floor, iterations, false, false);
}
double row_environment_create_pooled(struct bench_floor *floor, uint32_t iterations) {
  return many(floor, iterations, false, true);
}

// --- Memory: virtual processors that have run and do no more, each with page tables of its own behind the machine's memory.
enum { PARKED = 200 };
struct parked {
  struct vm vm;
  struct vcpu vcpu[PARKED];
  int count;
};
static double park(struct worker *worker, void *argument) {
  struct parked *parked = argument;
  int r = 0;
  for (; parked->count < PARKED && !r; parked->count++) {
    uint64_t root = MEMORY + (uint64_t)parked->count * POOL_STRIDE;
    vm_build_small_space(&parked->vm, root);
    struct vcpu *vcpu = &parked->vcpu[parked->count];
    r = vcpu_open(worker->floor, &parked->vm, parked->count, root, vcpu);
    if (!r) r = vcpu_start_at(vcpu, floor_first, 0, PAGE_STACK);
    if (!r) r = vcpu_run(worker, vcpu);
  }
  return r;
}
static double unpark(struct worker *worker, void *argument) {
  struct parked *parked = argument;
  while (parked->count > 0) vcpu_close(worker->floor, &parked->vcpu[--parked->count]);
  return 0;
}
double row_alive_memory(struct bench_floor *floor, uint32_t iterations) {
  (void)iterations;
  static struct parked parked;
  // As large as exo's: KVM keeps as many shadow tables as go with a machine's memory, and a small one runs out of them.
  double r = vm_open(&parked.vm, floor->kvm, 1u << 30, false);
  double before = -1, after = -1;
  if (r >= 0) {
    vm_build(&parked.vm);
    before = bench_memory_in_use(false);
    r = on_worker(floor, park, &parked);
    after = bench_memory_in_use(false);
    on_worker(floor, unpark, &parked);
  }
  vm_close(&parked.vm);
  // Less than before: other programs have given memory back meanwhile.
  return r < 0 ? r : before < 0 ? -EOPNOTSUPP : after <= before ? -EBUSY : (after - before) / PARKED;
}
