#include "floor.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static struct kvm_segment segment(uint16_t selector, uint8_t type, uint8_t privilege, bool code) {
  return (struct kvm_segment){.selector = selector, .type = type, .dpl = privilege, .present = 1, .s = 1,
                              .l = code, .db = !code, .g = 1, .limit = 0xffffffff};
}

// Straight into 64-bit ring 3: the processor never runs in another mode.
static void fill_system_registers(struct kvm_sregs *s) {
  s->cs = segment(USER_CS, 0xb, 3, true);
  s->ss = segment(USER_SS, 0x3, 3, false);
  s->ds = s->es = s->fs = s->gs = s->ss;
  s->tr = (struct kvm_segment){.selector = TSS_SELECTOR, .base = PAGE_GDT + TSS_OFFSET, .limit = 0x67,
                               .type = 0xb, .present = 1};
  s->ldt = (struct kvm_segment){.unusable = 1};
  s->gdt = (struct kvm_dtable){.base = PAGE_GDT, .limit = TSS_SELECTOR + 15};
  s->idt = (struct kvm_dtable){.base = PAGE_IDT, .limit = 32 * 16 - 1};
  s->cr0 = 0x80050033;        // PG AM WP NE ET MP PE
  s->cr4 = 0x620 | 1 << 18;   // PAE OSFXSR OSXMMEXCPT OSXSAVE
  s->efer = 0xd01;            // SCE LME LMA NXE
}

static int set_rest(struct vcpu *vcpu) {
  // Where SYSCALL enters ring 0 it must not go to an address that a guest can map.
  static const struct kvm_msr_entry wanted[] = {{.index = 0xc0000081, .data = 0x0023001000000000},  // STAR
                                                {.index = 0xc0000082, .data = PAGE_STUBS},          // LSTAR
                                                {.index = 0xc0000083, .data = PAGE_STUBS},          // CSTAR
                                                {.index = 0xc0000084, .data = 0x47700},             // FMASK
                                                {.index = 0x174, .data = 0}};                       // SYSENTER_CS
  union {
    struct kvm_msrs list;
    uint8_t room[sizeof(struct kvm_msrs) + sizeof wanted];
  } msrs = {.list = {.nmsrs = sizeof wanted / sizeof *wanted}};
  memcpy(msrs.list.entries, wanted, sizeof wanted);
  if (ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) < 0) return -errno;
  struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = 7}}};
  if (ioctl(vcpu->fd, KVM_SET_XCRS, &xcrs)) {  // no AVX here
    xcrs.xcrs[0].value = 3;
    if (ioctl(vcpu->fd, KVM_SET_XCRS, &xcrs)) return -errno;
  }
  return 0;
}

int vcpu_open(struct bench_floor *floor, struct vm *vm, int id, uint64_t root, struct vcpu *vcpu) {
  *vcpu = (struct vcpu){.fd = ioctl(vm->fd, KVM_CREATE_VCPU, id)};
  if (vcpu->fd < 0) return -errno;
  void *run = mmap(NULL, floor->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
  if (run == MAP_FAILED) return -errno;
  vcpu->run = run;
  if (ioctl(vcpu->fd, KVM_SET_CPUID2, floor->cpuid)) return -errno;
  if (!floor->template.cr3) {
    // What this code does not set (the APIC base, say) stays as the kernel made it.
    if (ioctl(vcpu->fd, KVM_GET_SREGS, &floor->template)) return -errno;
    fill_system_registers(&floor->template);
  }
  floor->template.cr3 = root;
  if (ioctl(vcpu->fd, KVM_SET_SREGS, &floor->template)) return -errno;
  return set_rest(vcpu);
}

void vcpu_close(struct bench_floor *floor, struct vcpu *vcpu) {
  if (vcpu->run) munmap(vcpu->run, floor->run_size);
  if (vcpu->fd >= 0) close(vcpu->fd);
  *vcpu = (struct vcpu){.fd = -1};
}

int vcpu_start_at(struct vcpu *vcpu, const uint8_t *entry, uint64_t rbx, uint64_t stack_page) {
  struct kvm_regs registers = {.rip = PAGE_CODE + (uint64_t)(entry - floor_code_start), .rbx = rbx,
                               .rsp = stack_page + 4096 - 16, .rflags = 0x202};
  return ioctl(vcpu->fd, KVM_SET_REGS, &registers) ? -errno : 0;
}

int vcpu_reset(struct bench_floor *floor, struct vcpu *vcpu, uint64_t root) {
  // Finishes the store that ended the last run, which would otherwise be finished in the next environment.
  vcpu->run->immediate_exit = 1;
  ioctl(vcpu->fd, KVM_RUN, 0);
  vcpu->run->immediate_exit = 0;
  floor->template.cr3 = root;
  if (ioctl(vcpu->fd, KVM_SET_SREGS, &floor->template)) return -errno;
  int r = set_rest(vcpu);
  if (r) return r;
  static const struct kvm_xsave fresh = {.region = {[0] = 0x37f, [6] = 0x1f80}};
  struct kvm_vcpu_events events = {0};
  struct kvm_debugregs debug = {.dr6 = 0xffff0ff0, .dr7 = 0x400};
  struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};
  if (ioctl(vcpu->fd, KVM_SET_XSAVE, &fresh)) return -errno;
  if (ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events)) return -errno;
  if (ioctl(vcpu->fd, KVM_SET_DEBUGREGS, &debug)) return -errno;
  ioctl(vcpu->fd, KVM_SET_MP_STATE, &runnable);  // needs an in-kernel APIC on some kernels; without one it is so
  return 0;
}

int vcpu_run(struct worker *worker, struct vcpu *vcpu) {
  struct kvm_run *run = vcpu->run;
  run->immediate_exit = 0;
  worker->running = run;
  int r, error;
  do {
    r = ioctl(vcpu->fd, KVM_RUN, 0);
    error = r < 0 ? errno : 0;
  } while (error == EINTR && !worker->cancelled);
  worker->running = NULL;
  if (error) return error == EINTR ? -ETIMEDOUT : -error;
  bool ended = run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write && run->mmio.phys_addr == EXIT_PHYSICAL;
  return ended ? 0 : -EPROTO;
}
