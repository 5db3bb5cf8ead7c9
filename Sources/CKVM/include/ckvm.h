// The whole C surface to Linux that Swift cannot import directly: ioctls on KVM's three kinds of descriptor,
// memory, event and futex calls, thread placement. No policy, no printing, no exit. Every function returns
// a value >= 0, or -errno.
#ifndef CKVM_H
#define CKVM_H
#include <linux/kvm.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "ckvm_network.h"

#pragma clang assume_nonnull begin

// --- /dev/kvm
int ckvm_open(const char *path);
int ckvm_api_version(int kvm);
int ckvm_check_extension(int kvm_or_vm, int capability);
int ckvm_create_vm(int kvm);
int ckvm_vcpu_map_size(int kvm);
/// Fills at most `capacity` entries; returns how many.
int ckvm_supported_cpuid(int kvm, struct kvm_cpuid_entry2 *entries, int capacity);
extern const int ckvm_cap_user_memory, ckvm_cap_ioeventfd, ckvm_cap_sync_regs, ckvm_cap_immediate_exit,
    ckvm_cap_readonly_mem, ckvm_cap_nr_memslots, ckvm_cap_nr_vcpus, ckvm_cap_max_vcpus, ckvm_cap_max_vcpu_id,
    ckvm_cap_manual_dirty_log_protect2, ckvm_cap_irqchip, ckvm_cap_split_irqchip, ckvm_cap_irqfd,
    ckvm_cap_signal_msi, ckvm_cap_xsave, ckvm_cap_xcrs, ckvm_cap_vcpu_events, ckvm_cap_debugregs,
    ckvm_cap_tsc_control, ckvm_cap_get_tsc_khz, ckvm_cap_x86_user_space_msr, ckvm_cap_x86_msr_filter,
    ckvm_cap_coalesced_mmio, ckvm_cap_x2apic_api, ckvm_cap_exception_payload;

// --- VM
int ckvm_create_vcpu(int vm, int id);
int ckvm_set_memory(int vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *host);
/// A store of `length` bytes at `gpa` signals `eventfd` without leaving the kernel; `remove` undoes it.
int ckvm_ioeventfd(int vm, uint64_t gpa, uint32_t length, int eventfd, bool remove);
int ckvm_clear_dirty_log(int vm, uint32_t slot, uint64_t first_page, uint32_t pages, const void *bitmap);
int ckvm_get_dirty_log(int vm, uint32_t slot, void *bitmap);
/// Lets KVM have so many shadow page tables; its own limit is 2 % of the memory's pages.
int ckvm_set_shadow_limit(int vm, uint32_t pages);
int ckvm_enable_manual_dirty_log(int vm);
/// Denies every model-specific register to the guest's own RDMSR and WRMSR.
int ckvm_deny_msrs(int vm);

// --- vCPU
int ckvm_run(int vcpu);
int ckvm_get_registers(int vcpu, struct kvm_regs *registers);
int ckvm_set_registers(int vcpu, const struct kvm_regs *registers);
int ckvm_get_system_registers(int vcpu, struct kvm_sregs *registers);
int ckvm_set_system_registers(int vcpu, const struct kvm_sregs *registers);
int ckvm_set_cpuid(int vcpu, const struct kvm_cpuid_entry2 *entries, int count);
int ckvm_get_msr(int vcpu, uint32_t index, uint64_t *value);
int ckvm_set_msr(int vcpu, uint32_t index, uint64_t value);
/// Sets several at once, at most 32; -EINVAL unless all were accepted.
int ckvm_set_msrs(int vcpu, const uint32_t *indices, const uint64_t *values, int count);
int ckvm_set_xcr0(int vcpu, uint64_t value);
int ckvm_get_xsave(int vcpu, struct kvm_xsave *state);
int ckvm_set_xsave(int vcpu, const struct kvm_xsave *state);
int ckvm_get_events(int vcpu, struct kvm_vcpu_events *events);
int ckvm_set_events(int vcpu, const struct kvm_vcpu_events *events);
int ckvm_set_debug_registers(int vcpu, const struct kvm_debugregs *registers);
int ckvm_set_mp_state(int vcpu, uint32_t state);
int ckvm_tsc_khz(int vcpu);
/// The guest's time-stamp counter reads the host's plus `offset`.
int ckvm_set_tsc_offset(int vcpu, uint64_t offset);

// --- the run page, flattened: its unions are anonymous
static inline uint32_t ckvm_exit_reason(const struct kvm_run *run) { return run->exit_reason; }
static inline uint16_t ckvm_exit_port(const struct kvm_run *run) { return run->io.port; }
static inline uint64_t ckvm_exit_mmio_address(const struct kvm_run *run) { return run->mmio.phys_addr; }
static inline uint32_t ckvm_exit_mmio_length(const struct kvm_run *run) { return run->mmio.len; }
static inline bool ckvm_exit_mmio_is_write(const struct kvm_run *run) { return run->mmio.is_write; }
uint64_t ckvm_exit_mmio_data(const struct kvm_run *run);
static inline uint32_t ckvm_exit_suberror(const struct kvm_run *run) { return run->internal.suberror; }
static inline void ckvm_set_immediate_exit(struct kvm_run *run, uint8_t on) {
  __atomic_store_n(&run->immediate_exit, on, __ATOMIC_SEQ_CST);
}
/// Which register sets KVM copies into the run page at each exit: 1 general, 2 system, 4 events.
static inline void ckvm_sync_valid(struct kvm_run *run, uint64_t sets) { run->kvm_valid_regs = sets; }
// Sets that the next entry takes over, beside those that still wait for one: KVM clears each as it does.
static inline void ckvm_sync_dirty(struct kvm_run *run, uint64_t sets) { run->kvm_dirty_regs |= sets; }
static inline struct kvm_regs *ckvm_sync_registers(struct kvm_run *run) { return &run->s.regs.regs; }
static inline struct kvm_sregs *ckvm_sync_system_registers(struct kvm_run *run) { return &run->s.regs.sregs; }

// --- memory
/// A memory file of a size fixed by seals.
int ckvm_memory_file(const char *name, uint64_t size);
/// Maps `length` bytes of `fd` shared, at an address aligned to `alignment` (a power of two).
void *_Nullable ckvm_map_shared(int fd, uint64_t length, uint64_t alignment, int *error);
/// A vCPU's run page.
struct kvm_run *_Nullable ckvm_map_run(int vcpu, uint64_t size, int *error);
int ckvm_unmap(void *address, uint64_t length);
/// A descriptor of this process.
int ckvm_own_process(void);
/// Removes the translations of ranges in this mapping and in the shadow or nested tables behind it; the
/// file keeps the content (madvise MADV_DONTNEED on a shared mapping). One call for several ranges where the host has it (Linux 6.13);
/// its other processors are interrupted for each range all the same in which pages were written.
int ckvm_drop_translations(int process, const struct iovec *ranges, int count);
/// Frees the file's pages of a range; they read as zero afterwards.
int ckvm_punch(int fd, uint64_t offset, uint64_t length);
/// Memory for code: `size` bytes, a whole number of pages, seen where they are written and where they are executed. No address is
/// both. Refused where the system lets no memory become executable.
int ckvm_code_memory(uint64_t size, void *_Nullable *_Nonnull writable, void *_Nullable *_Nonnull executable);
/// Runs code that was made for a packet: a C function of the packet and its length.
static inline uint64_t ckvm_run_classifier(uint64_t code, const void *_Nullable packet, uint64_t length) {
  return ((uint64_t (*)(const void *_Nullable, uint64_t))code)(packet, length);
}
/// The same for many packets at once: where each begins and ends in `bytes`, two words of 8 bytes each, and where a word for each goes.
/// Returns how many of these are not 0.
static inline uint64_t ckvm_run_batch_classifier(
    uint64_t code, const void *_Nullable bytes, const void *_Nullable places, uint64_t count, void *_Nullable results) {
  return ((uint64_t (*)(const void *_Nullable, const void *_Nullable, uint64_t, void *_Nullable))code)(
      bytes, places, count, results);
}
/// The same for a packet's handler, with the memory that it works in.
static inline uint64_t ckvm_run_handler(
    uint64_t code, const void *_Nullable packet, uint64_t length, void *_Nonnull frame) {
  return ((uint64_t (*)(const void *_Nullable, uint64_t, void *_Nonnull))code)(packet, length, frame);
}

// --- waiting and waking
int ckvm_eventfd(void);
int ckvm_eventfd_signal(int fd);
int ckvm_eventfd_drain(int fd);
/// Waits for any of the descriptors, at most so long (negative: for ever). Returns how many are ready.
int ckvm_poll(struct pollfd *descriptors, int count, int64_t nanoseconds);
/// Sleeps while `*word == expected`; -ETIMEDOUT after `nanoseconds` (negative: no limit).
int ckvm_futex_wait(const void *word, uint32_t expected, int64_t nanoseconds);
int ckvm_futex_wake(const void *word, int count);

// --- threads
int ckvm_thread_id(void);
/// Names the calling thread, at most 15 bytes.
int ckvm_name_thread(const char *name);
/// Leaves the program's signals to its other threads: blocks all in the calling one but the kick and what faults
/// raise. A write to a closed pipe is then an error and no signal.
int ckvm_quiet_thread(void);
/// Restricts the calling thread to one processor.
int ckvm_pin_thread(int processor);
/// Processors this process may use, lowest first; returns how many were written.
int ckvm_allowed_processors(int *processors, int capacity);
/// Installs the handler (empty) of the signal that brings a vCPU thread out of KVM_RUN.
int ckvm_install_kick(void);
int ckvm_kick_thread(int thread_id);
/// A timer that kicks the calling thread; returns its id.
int ckvm_timer_create(void);
/// Kicks in `nanoseconds`, and then every `nanoseconds`, or millisecond if that is longer: one kick that comes too early is not
/// the last. 0 stops it.
int ckvm_timer_set(int timer, uint64_t nanoseconds);
int ckvm_timer_delete(int timer);
/// A number of the calling thread's own, 0 at first.
void ckvm_set_lane(int lane);
int ckvm_lane(void);

/// What this processor and its kernel offer: bit 0 AVX, 1 AVX2, 2 AVX-512 F.
int ckvm_host_features(void);

// --- time
uint64_t ckvm_monotonic(void);
/// Nanoseconds since 1970.
uint64_t ckvm_realtime(void);
static inline uint64_t ckvm_tsc(void) { return __builtin_ia32_rdtsc(); }
static inline void ckvm_pause(void) { __builtin_ia32_pause(); }
/// Has the page at an address mapped by the host, by a look at it.
static inline void ckvm_touch(const void *address) { (void)*(const volatile char *)address; }
/// Brings a cache line here to be written. Reads nothing and never faults.
static inline void ckvm_prefetch_for_write(const void *address) {
  __asm__ volatile("prefetchw %0" : : "m"(*(const char *)address));
}

// --- Unix sockets and terminals
/// A listening stream socket at a path of at most 107 bytes, which only its owner may connect to (mode 0600). Accepting
/// never waits.
int ckvm_socket_listen(const char *path);
/// A connection to the socket at a path.
int ckvm_socket_connect(const char *path);
/// The next connection, whose calls never wait; -EAGAIN if there is none.
int ckvm_socket_accept(int listener);
/// Who made the connection, as the kernel says (SO_PEERCRED).
int ckvm_socket_peer(int socket, uint32_t *user);
/// Sends what can be sent without waiting, and raises no signal; -EAGAIN if that is nothing.
int ckvm_socket_send(int socket, const void *bytes, int count);
/// A terminal's rows and columns.
int ckvm_terminal_size(int terminal, int *rows, int *columns);

#pragma clang assume_nonnull end
#endif
