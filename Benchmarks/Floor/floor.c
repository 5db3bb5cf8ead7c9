#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct row {
  const char *name;
  row_function *run;
  const char *description;
};
static const struct row rows[] = {
    {"procedure_call", row_procedure_call, "call and ret at ring 3"},
    {"exocall", row_exocall, "ring 3 stores a sequence number, a polling host thread answers: one line each way"},
    {"exocall_batch32", row_exocall_batch32, "the same, 32 requests before 32 answers; per request"},
    {"clock", row_clock, "rdtsc at ring 3"},
    {"exception_de", row_exception_de, "direct gate, handler steps over it, iretq at ring 3"},
    {"exception_bp", row_exception_bp, "direct gate, iretq at ring 3"},
    {"exception_gp", row_exception_gp, "direct gate; load from a non-canonical address"},
    {"exception_ud", row_exception_ud, "direct gate; ud2"},
    {"exception_pf_direct", row_exception_pf, "direct gate; store to a read-only page"},
    {"exception_pf_cr2", row_exception_pf_cr2, "the same through a ring-0 stub of 5 instructions that saves CR2"},
    {"exception_fp_overflow", row_exception_fp_overflow, "direct gate; unmasked SSE overflow"},
    {"exception_unaligned", row_exception_unaligned, "direct gate; unaligned load with EFLAGS.AC"},
    {"pct_cross_core", row_pct_cross_core, "two vCPUs, two address spaces, one line each way; round trip"},
    {"pct_same_core_sync", row_pct_same_core, "int3 to a ring-0 stub of 2 instructions that loads CR3; one way"},
    {"pct_same_core_async", row_pct_same_core, "int3 to a ring-0 stub of 2 instructions that loads CR3; one way"},
    {"yield_to", row_leave_and_enter, "leave guest mode by a store, enter another vCPU on the same thread"},
    {"lrpc", row_pct_return, "two switches by int3 to a ring-0 stub of 2 instructions that loads CR3"},
    {"tlrpc", row_pct_return, "two switches by int3 to a ring-0 stub of 2 instructions that loads CR3"},
    {"event_injected", row_event_injected,
     "signal to the vCPU's thread, KVM_SET_REGS, enter guest mode at the handler; one way"},
    {"shm_latency", row_event_polled, "a line stored on one processor and seen on the other: half a round trip"},
    {"event_polled", row_event_polled, "a line stored on one processor and seen on the other: half a round trip"},
    {"pipe_latency", row_event_polled, "a line stored on one processor and seen on the other: half a round trip"},
    {"pipe_inlined", row_event_polled, "a line stored on one processor and seen on the other: half a round trip"},
    {"pipe_64k", row_pipe_64k,
     "rep movsb of 64 KiB to 8 KiB that two vCPUs share, in pieces of 2 KiB, and out of it on the other; a line back"},
    {"mach_port", row_pct_cross_core, "two vCPUs, two address spaces, one line each way; round trip"},
    {"urpc", row_pct_cross_core, "two vCPUs, two address spaces, one line each way; round trip"},
    {"pipe_across", row_event_polled, "a line stored on one processor and seen on the other: half a round trip"},
    {"shm_across", row_event_polled, "a line stored on one processor and seen on the other: half a round trip"},
    {"spawn_wait", row_pct_return, "two switches by int3 to a ring-0 stub of 2 instructions that loads CR3: the way there and back alone"},
    {"spawn_apart", row_environment_create_pooled, "page tables and a used vCPU, to the first store at ring 3: the beginning alone"},
    {"machine_start", row_machine_start, "KVM_CREATE_VM, 64 MiB, vCPU, page tables, first store at ring 3"},
    {"environment_create", row_environment_create, "page tables and a new vCPU in a VM, first store at ring 3"},
    {"environment_create_pooled", row_environment_create_pooled, "the same with a used vCPU, reset"},
    {"alive_memory", row_alive_memory, "200 vCPUs with page tables of their own that have stored once"},
    {"dirty", row_dirty, "load and test of a page-table entry mapped read-only"},
    {"prot1", row_prot1, "ring request: page-table store and KVM_CLEAR_DIRTY_LOG"},
    {"prot100", row_prot100, "the same for 100 pages in one request"},
    {"prot100_remote", row_prot100, "the same for 100 pages in one request"},
    {"unprot100", row_unprot100, "ring request: 100 page-table stores"},
    {"trap", row_exception_pf, "direct gate; store to a read-only page"},
    {"appel1", row_appel1, "fault by direct gate; two ring requests in one batch; per page"},
    {"appel2", row_appel2, "protect 100, then fault and unprotect each; per page"},
};
static const struct row *find(const char *name) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (!strcmp(rows[i].name, name)) return &rows[i];
  return NULL;
}

static double open_vcpu(struct worker *worker, void *argument) {
  (void)argument;
  struct bench_floor *floor = worker->floor;
  int which = (int)(worker - floor->worker);
  return vcpu_open(floor, &floor->vm, which, TABLES + (uint64_t)which * TABLES_STRIDE, &floor->vcpu[which]);
}
static double close_vcpu(struct worker *worker, void *argument) {
  (void)argument;
  vcpu_close(worker->floor, &worker->floor->vcpu[worker - worker->floor->worker]);
  return 0;
}

static int open_machine(struct bench_floor *floor, const char **reason) {
  *reason = "/dev/kvm cannot be opened";
  if ((floor->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC)) < 0) return -errno;
  *reason = "the KVM interface is not version 12";
  if (ioctl(floor->kvm, KVM_GET_API_VERSION, 0) != 12) return -ENOSYS;
  int run_size = ioctl(floor->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  enum { ENTRIES = 256 };
  floor->cpuid = calloc(1, sizeof *floor->cpuid + ENTRIES * sizeof(struct kvm_cpuid_entry2));
  if (!floor->cpuid) return -ENOMEM;
  floor->cpuid->nent = ENTRIES;
  *reason = "the processor's features cannot be read";
  if (run_size < 0 || ioctl(floor->kvm, KVM_GET_SUPPORTED_CPUID, floor->cpuid)) return -errno;
  floor->run_size = (size_t)run_size;
  *reason = "the virtual machine cannot be made";
  int r = vm_open(&floor->vm, floor->kvm, MEMORY, true);
  if (r) return r;
  vm_build(&floor->vm);
  vm_build_space(&floor->vm, TABLES);
  vm_build_space(&floor->vm, TABLES + TABLES_STRIDE);
  *reason = "the virtual processors cannot be made";
  for (int i = 0; i < 2 && i < bench_processor_count(); i++) {
    if ((r = worker_start(&floor->worker[i], floor, i))) return r;
    worker_begin(&floor->worker[i], open_vcpu, NULL);
    double opened = worker_end(&floor->worker[i], false);
    if (opened < 0) return (int)opened;
  }
  *reason = NULL;
  return 0;
}

int bench_floor_open(struct bench_floor **out, const char **reason) {
  struct bench_floor *floor = calloc(1, sizeof *floor);
  *out = NULL;
  *reason = "no memory";
  if (!floor) return -ENOMEM;
  floor->kvm = floor->vm.fd = floor->vm.file = floor->vcpu[0].fd = floor->vcpu[1].fd = floor->other.fd = -1;
  int r = open_machine(floor, reason);
  if (r) bench_floor_close(floor);
  else *out = floor;
  return r;
}

void bench_floor_close(struct bench_floor *floor) {
  if (!floor) return;
  for (int i = 0; i < 2; i++)
    if (floor->worker[i].started && !floor->broken) {
      worker_begin(&floor->worker[i], close_vcpu, NULL);
      worker_end(&floor->worker[i], false);
    }
  for (int i = 0; i < 2; i++) worker_stop(&floor->worker[i]);
  if (floor->broken) return;  // a thread may still be inside: what it uses stays
  vcpu_close(floor, &floor->other);
  vm_close(&floor->vm);
  if (floor->kvm >= 0) close(floor->kvm);
  free(floor->cpuid);
  free(floor);
}

struct loop {
  const uint8_t *entry;
  uint64_t count;
};
static double run_loop(struct worker *worker, void *argument) {
  struct loop *loop = argument;
  struct vcpu *vcpu = &worker->floor->vcpu[0];
  int r = vcpu_start_at(vcpu, loop->entry, loop->count, PAGE_STACK);
  return r ? r : vcpu_run(worker, vcpu);
}

double floor_loop(struct bench_floor *floor, const uint8_t *entry, uint64_t count,
                  int (*serve)(struct bench_floor *, uint64_t), uint64_t requests) {
  if (serve && bench_processor_count() < 2) return -ENODEV;
  struct loop loop = {.entry = entry, .count = count};
  struct bench_place place;
  int served = 0;
  if (serve) {
    memset(floor->vm.memory + PAGE_SUBMIT, 0, 4096);
    memset(floor->vm.memory + PAGE_COMPLETE, 0, 4096);
    bench_pin(1, &place);
  }
  worker_begin(&floor->worker[0], run_loop, &loop);
  if (serve) {
    served = serve(floor, requests);
    bench_unpin(&place);
  }
  double result = worker_end(&floor->worker[0], served < 0);
  if (result < 0) return result;
  return served < 0 ? served : bench_nanoseconds((double)*(uint64_t *)(floor->vm.memory + RESULT_TICKS));
}

double bench_floor_run(struct bench_floor *floor, const char *name, uint32_t iterations) {
  const struct row *row = find(name);
  if (!row) return NAN;
  if (floor->broken) return -EIO;
  if (!iterations) return -EINVAL;
  return row->run(floor, iterations);
}
const char *bench_floor_describe(const char *name) {
  const struct row *row = find(name);
  return row ? row->description : NULL;
}
