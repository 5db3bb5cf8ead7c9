#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PRESENT 0x1ull
#define WRITABLE 0x2ull
#define USER 0x4ull
#define UNCACHED 0x18ull
#define NO_EXECUTE (1ull << 63)

static int set_slot(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t start, uint64_t size) {
  struct kvm_userspace_memory_region region = {.slot = slot, .flags = flags, .guest_phys_addr = start,
                                               .memory_size = size,
                                               .userspace_addr = (uint64_t)(vm->memory + start)};
  return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) ? -errno : 0;
}

int vm_open(struct vm *vm, int kvm, size_t size, bool dirty_log) {
  *vm = (struct vm){.fd = -1, .file = -1, .size = size, .reserved = size + SLOT};
  if ((vm->fd = ioctl(kvm, KVM_CREATE_VM, 0)) < 0) return -errno;
  if ((vm->file = memfd_create("bench-floor", MFD_CLOEXEC | MFD_ALLOW_SEALING)) < 0) return -errno;
  if (ftruncate(vm->file, (off_t)size)) return -errno;
  if (fcntl(vm->file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)) return -errno;
  // Slots are aligned to 2 MiB in the host's address space too.
  void *room = mmap(NULL, vm->reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return -errno;
  vm->reservation = room;
  uint8_t *aligned = (uint8_t *)(((uintptr_t)room + SLOT - 1) & ~(uintptr_t)(SLOT - 1));
  if (mmap(aligned, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, vm->file, 0) == MAP_FAILED)
    return -errno;
  vm->memory = aligned;
  if (!dirty_log) return set_slot(vm, 0, 0, 0, size);
  struct kvm_enable_cap manual = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
                                  .args = {KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE}};
  ioctl(vm->fd, KVM_ENABLE_CAP, &manual);  // the rows that need it fail by themselves without
  int r = set_slot(vm, 0, 0, 0, SLOT);
  return r ? r : set_slot(vm, 1, KVM_MEM_LOG_DIRTY_PAGES, SLOT, size - SLOT);
}

void vm_close(struct vm *vm) {
  if (vm->fd >= 0) close(vm->fd);
  if (vm->reservation) munmap(vm->reservation, vm->reserved);
  if (vm->file >= 0) close(vm->file);
  *vm = (struct vm){.fd = -1, .file = -1};
}

static void set_gate(struct vm *vm, int vector, uint64_t target, int selector, int stack, int privilege) {
  uint8_t *gate = vm->memory + PAGE_IDT + vector * 16;
  uint64_t low = (target & 0xffff) | (uint64_t)selector << 16 | (uint64_t)stack << 32 |
                 (uint64_t)(0x8f | privilege << 5) << 40 | (target >> 16 & 0xffff) << 48;
  uint64_t high = target >> 32;
  memcpy(gate, &low, 8);
  memcpy(gate + 8, &high, 8);
}
// Hardware lets ring 3 raise #BP only through a gate of its own privilege.
static int privilege_of(int vector) { return vector == 3 ? 3 : 0; }

void vm_gate_user(struct vm *vm, int vector, const uint8_t *handler) {
  set_gate(vm, vector, PAGE_CODE + (uint64_t)(handler - floor_code_start), USER_CS, VM_STACK_FAULT,
           privilege_of(vector));
}
void vm_gate_stub(struct vm *vm, int vector, const uint8_t *stub, int stack) {
  set_gate(vm, vector, PAGE_STUBS + (uint64_t)(stub - floor_stubs_start), NUCLEUS_CS, stack,
           privilege_of(vector));
}
void vm_gate_default(struct vm *vm, int vector) {
  vm_gate_stub(vm, vector, floor_stubs_start + vector * 16, VM_STACK_NUCLEUS);
}

void vm_build(struct vm *vm) {
  uint64_t *gdt = (uint64_t *)(vm->memory + PAGE_GDT);
  gdt[NUCLEUS_CS / 8] = 0x00af9b000000ffff;
  gdt[NUCLEUS_SS / 8] = 0x00cf93000000ffff;
  gdt[USER_SS / 8] = 0x00cff3000000ffff;
  gdt[USER_CS / 8] = 0x00affb000000ffff;
  uint64_t tss = PAGE_GDT + TSS_OFFSET;
  gdt[TSS_SELECTOR / 8] = 0x0000890000000067 | (tss & 0xffffff) << 16;
  gdt[TSS_SELECTOR / 8 + 1] = 0;
  uint8_t *state = vm->memory + tss;
  uint64_t nucleus = PAGE_NUCLEUS_STACK + 4096, fault = PAGE_FAULT_STACK + 4096;
  memcpy(state + 0x24 + 8 * (VM_STACK_NUCLEUS - 1), &nucleus, 8);
  memcpy(state + 0x24 + 8 * (VM_STACK_FAULT - 1), &fault, 8);
  uint16_t no_io_map = 0x68;
  memcpy(state + 0x66, &no_io_map, 2);
  memcpy(vm->memory + PAGE_CODE, floor_code_start, (size_t)(floor_code_end - floor_code_start));
  memcpy(vm->memory + PAGE_STUBS, floor_stubs_start, (size_t)(floor_stubs_end - floor_stubs_start));
  for (int vector = 0; vector < 32; vector++) vm_gate_default(vm, vector);
}

// Root, one table of each upper level, then `leaves` last-level tables: 2 MiB each from address 0.
static uint64_t *link_tables(struct vm *vm, uint64_t base, int leaves) {
  uint64_t *root = (uint64_t *)(vm->memory + base), *third = root + 512, *second = root + 1024;
  root[0] = (base + 0x1000) | PRESENT | WRITABLE | USER;
  third[0] = (base + 0x2000) | PRESENT | WRITABLE | USER;
  for (int i = 0; i < leaves; i++)
    second[i] = (base + 0x3000 + 0x1000 * (uint64_t)i) | PRESENT | WRITABLE | USER;
  return root + 1536;
}
static void map(uint64_t *leaf, uint64_t first, uint64_t pages, uint64_t flags) {
  for (uint64_t a = first; a < first + pages * 4096; a += 4096) leaf[a >> 12] = a | flags;
}
// The part every space has: nucleus pages, code, stacks, shared lines and the page that ends a run.
static void map_common(uint64_t *leaf) {
  map(leaf, PAGE_GDT, 2, PRESENT | NO_EXECUTE);
  map(leaf, PAGE_STUBS, 1, PRESENT);
  map(leaf, PAGE_RETURN, 1, PRESENT | NO_EXECUTE);
  map(leaf, PAGE_CODE, CODE_PAGES, PRESENT | USER);
  map(leaf, PAGE_FAULT_STACK, 4, PRESENT | WRITABLE | USER | NO_EXECUTE);
  map(leaf, PAGE_SUBMIT, 3, PRESENT | WRITABLE | USER | NO_EXECUTE);
  leaf[PAGE_EXIT >> 12] = EXIT_PHYSICAL | PRESENT | WRITABLE | USER | UNCACHED | NO_EXECUTE;
}

void vm_build_space(struct vm *vm, uint64_t base) {
  uint64_t *leaf = link_tables(vm, base, 2);
  map_common(leaf);
  map(leaf, PAGE_READONLY, 1, PRESENT | USER | NO_EXECUTE);
  map(leaf, TABLES, TABLES_STRIDE * 2 / 4096, PRESENT | USER | NO_EXECUTE);
  map(leaf, DATA, DATA_PAGES, PRESENT | WRITABLE | USER | NO_EXECUTE);
}
void vm_build_small_space(struct vm *vm, uint64_t base) {
  map_common(link_tables(vm, base, 1));
}
