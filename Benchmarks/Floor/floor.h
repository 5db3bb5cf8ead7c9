// Inside the floor: its machine, its virtual processors, its two threads.
#ifndef FLOOR_H
#define FLOOR_H
#include "bench_floor.h"
#include "bench_support.h"
#include "layout.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <stddef.h>

/// One virtual machine: a memory file mapped shared, in one slot or two.
struct vm {
  int fd, file;
  uint8_t *memory, *reservation;
  size_t size, reserved;
};
struct vcpu {
  int fd;
  struct kvm_run *run;
};

/// A thread that stays on one processor and owns the virtual processors it runs (moving one between threads costs
/// an RCU grace period). It does one job at a time; a job that does not end is brought out of the guest.
struct worker {
  struct bench_floor *floor;
  pthread_t thread;
  int which, thread_id;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  double (*job)(struct worker *, void *);
  void *argument;
  double result;
  bool busy, stop, started;
  _Atomic bool cancelled;
  struct kvm_run *_Atomic running;
};

struct bench_floor {
  int kvm;
  size_t run_size;
  struct kvm_cpuid2 *cpuid;
  struct kvm_sregs template;  // system registers of ring 3 in the first address space
  struct vm vm;
  struct vcpu vcpu[2];        // the measured one, and the peer in the second address space
  struct vcpu other;          // one more of the first worker's, in the second address space; made when it is wanted
  struct worker worker[2];
  bool broken;
};

// vm.c
int vm_open(struct vm *vm, int kvm, size_t size, bool dirty_log);
void vm_close(struct vm *vm);
/// Fills in descriptor tables, code and stubs; every vector goes to the stub that ends the run.
void vm_build(struct vm *vm);
/// Writes one address space of the whole machine; `base` is its first page.
void vm_build_space(struct vm *vm, uint64_t base);
/// Writes the smallest address space that runs the first instruction, into five fresh pages at `base`.
void vm_build_small_space(struct vm *vm, uint64_t base);
/// Points a vector at ring-3 code (the direct gate) or at a ring-0 stub.
void vm_gate_user(struct vm *vm, int vector, const uint8_t *handler);
void vm_gate_stub(struct vm *vm, int vector, const uint8_t *stub, int stack);
void vm_gate_default(struct vm *vm, int vector);
static inline uint64_t *vm_page_entry(struct vm *vm, uint64_t page) {
  return (uint64_t *)(vm->memory + TABLES + 4 * 4096) + page;
}
#define VM_STACK_NUCLEUS 1
#define VM_STACK_FAULT 3

// vcpu.c
int vcpu_open(struct bench_floor *floor, struct vm *vm, int id, uint64_t root, struct vcpu *vcpu);
void vcpu_close(struct bench_floor *floor, struct vcpu *vcpu);
int vcpu_start_at(struct vcpu *vcpu, const uint8_t *entry, uint64_t rbx, uint64_t stack_page);
/// Brings a used virtual processor to the state of a new one in the address space at `root`.
int vcpu_reset(struct bench_floor *floor, struct vcpu *vcpu, uint64_t root);
/// Runs until the guest stores to PAGE_EXIT. 0 or -errno; -EPROTO: it ended in another way.
int vcpu_run(struct worker *worker, struct vcpu *vcpu);

// worker.c
int worker_start(struct worker *worker, struct bench_floor *floor, int which);
void worker_stop(struct worker *worker);
void worker_begin(struct worker *worker, double (*job)(struct worker *, void *), void *argument);
/// Waits for the job, at most BENCH_PATIENCE or not at all if `give_up`; what it returned, or -ETIMEDOUT.
double worker_end(struct worker *worker, bool give_up);
/// Brings the worker out of guest mode, if it is in it or about to enter.
void worker_kick(struct worker *worker);

// Guest code, by label.
extern const uint8_t floor_code_start[], floor_code_end[], floor_stubs_start[], floor_stubs_end[];

extern const uint8_t floor_procedure_call[], floor_clock[], floor_exocall[], floor_exocall_batch32[], floor_exception_de[],
    floor_exception_bp[], floor_exception_gp[], floor_exception_ud[], floor_exception_pf[],
    floor_exception_fp_overflow[], floor_exception_unaligned[], floor_resume[], floor_resume_skip2[],
    floor_resume_skip4[], floor_resume_code_skip2[], floor_resume_code_skip3[], floor_resume_address_skip3[],
    floor_echo[], floor_pipe_64k[], floor_take_64k[], floor_pct_same_core[], floor_first[], floor_prot1[], floor_prot100[], floor_unprot100[],
    floor_appel1[], floor_handle_appel1[], floor_appel2[], floor_handle_appel2[], floor_dirty[],
    floor_stub_page_fault[], floor_stub_switch[], floor_leave[], floor_compute[], floor_interrupted[];

/// Runs a guest loop on the first worker; its nanoseconds, or -errno. `serve`, if any, runs on the calling thread,
/// on the second processor, beside it.
double floor_loop(struct bench_floor *floor, const uint8_t *entry, uint64_t count,
                  int (*serve)(struct bench_floor *, uint64_t requests), uint64_t requests);

/// A share of a total that may be an error instead.
static inline double floor_each(double total, double count) { return total < 0 ? total : total / count; }

// The rows, by file.
typedef double row_function(struct bench_floor *, uint32_t iterations);
row_function row_procedure_call, row_clock, row_exocall, row_exocall_batch32, row_event_polled;
row_function row_exception_de, row_exception_bp, row_exception_gp, row_exception_ud, row_exception_pf,
    row_exception_pf_cr2, row_exception_fp_overflow, row_exception_unaligned;
row_function row_pct_cross_core, row_pct_same_core, row_pct_return, row_leave_and_enter, row_event_injected;
row_function row_pipe_64k, row_alive_memory;
row_function row_machine_start, row_environment_create, row_environment_create_pooled;
row_function row_dirty, row_prot1, row_prot100, row_unprot100, row_appel1, row_appel2;
#endif
