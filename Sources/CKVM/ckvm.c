#define _GNU_SOURCE
#include "ckvm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int result(long value) { return value < 0 ? -errno : (int)value; }

// KVM_RUN alone must see EINTR; everything else is repeated.
static int call(int fd, unsigned long request, void *argument) {
  int r;
  do r = ioctl(fd, request, argument);
  while (r < 0 && errno == EINTR);
  return result(r);
}

int ckvm_open(const char *path) { return result(open(path, O_RDWR | O_CLOEXEC)); }
int ckvm_api_version(int kvm) { return call(kvm, KVM_GET_API_VERSION, NULL); }
int ckvm_check_extension(int fd, int capability) {
  return call(fd, KVM_CHECK_EXTENSION, (void *)(long)capability);
}
int ckvm_create_vm(int kvm) { return call(kvm, KVM_CREATE_VM, NULL); }
int ckvm_vcpu_map_size(int kvm) { return call(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL); }

const int ckvm_cap_user_memory = KVM_CAP_USER_MEMORY, ckvm_cap_ioeventfd = KVM_CAP_IOEVENTFD,
          ckvm_cap_sync_regs = KVM_CAP_SYNC_REGS, ckvm_cap_immediate_exit = KVM_CAP_IMMEDIATE_EXIT,
          ckvm_cap_readonly_mem = KVM_CAP_READONLY_MEM, ckvm_cap_nr_memslots = KVM_CAP_NR_MEMSLOTS,
          ckvm_cap_nr_vcpus = KVM_CAP_NR_VCPUS, ckvm_cap_max_vcpus = KVM_CAP_MAX_VCPUS,
          ckvm_cap_max_vcpu_id = KVM_CAP_MAX_VCPU_ID,
          ckvm_cap_manual_dirty_log_protect2 = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
          ckvm_cap_irqchip = KVM_CAP_IRQCHIP, ckvm_cap_split_irqchip = KVM_CAP_SPLIT_IRQCHIP,
          ckvm_cap_irqfd = KVM_CAP_IRQFD, ckvm_cap_signal_msi = KVM_CAP_SIGNAL_MSI,
          ckvm_cap_xsave = KVM_CAP_XSAVE, ckvm_cap_xcrs = KVM_CAP_XCRS,
          ckvm_cap_vcpu_events = KVM_CAP_VCPU_EVENTS, ckvm_cap_debugregs = KVM_CAP_DEBUGREGS,
          ckvm_cap_tsc_control = KVM_CAP_TSC_CONTROL, ckvm_cap_get_tsc_khz = KVM_CAP_GET_TSC_KHZ,
          ckvm_cap_x86_user_space_msr = KVM_CAP_X86_USER_SPACE_MSR,
          ckvm_cap_x86_msr_filter = KVM_CAP_X86_MSR_FILTER,
          ckvm_cap_coalesced_mmio = KVM_CAP_COALESCED_MMIO, ckvm_cap_x2apic_api = KVM_CAP_X2APIC_API,
          ckvm_cap_exception_payload = KVM_CAP_EXCEPTION_PAYLOAD;

// kvm_cpuid2 ends in a flexible array, which Swift cannot allocate.
static struct kvm_cpuid2 *cpuid_table(int capacity) {
  struct kvm_cpuid2 *table = calloc(1, sizeof *table + (size_t)capacity * sizeof table->entries[0]);
  if (table) table->nent = (uint32_t)capacity;
  return table;
}
int ckvm_supported_cpuid(int kvm, struct kvm_cpuid_entry2 *entries, int capacity) {
  struct kvm_cpuid2 *table = cpuid_table(capacity);
  if (!table) return -ENOMEM;
  int r = call(kvm, KVM_GET_SUPPORTED_CPUID, table);
  if (r >= 0) {
    r = (int)table->nent;
    memcpy(entries, table->entries, (size_t)r * sizeof *entries);
  }
  free(table);
  return r;
}
int ckvm_set_cpuid(int vcpu, const struct kvm_cpuid_entry2 *entries, int count) {
  struct kvm_cpuid2 *table = cpuid_table(count);
  if (!table) return -ENOMEM;
  memcpy(table->entries, entries, (size_t)count * sizeof *entries);
  int r = call(vcpu, KVM_SET_CPUID2, table);
  free(table);
  return r;
}

int ckvm_create_vcpu(int vm, int id) { return call(vm, KVM_CREATE_VCPU, (void *)(long)id); }
int ckvm_set_memory(int vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *host) {
  struct kvm_userspace_memory_region region = {slot, flags, gpa, size, (uint64_t)host};
  return call(vm, KVM_SET_USER_MEMORY_REGION, &region);
}
int ckvm_ioeventfd(int vm, uint64_t gpa, uint32_t length, int eventfd, bool remove) {
  struct kvm_ioeventfd event = {
      .addr = gpa, .len = length, .fd = eventfd, .flags = remove ? KVM_IOEVENTFD_FLAG_DEASSIGN : 0};
  return call(vm, KVM_IOEVENTFD, &event);
}
int ckvm_clear_dirty_log(int vm, uint32_t slot, uint64_t first, uint32_t pages, const void *bitmap) {
  struct kvm_clear_dirty_log log = {
      .slot = slot, .num_pages = pages, .first_page = first, .dirty_bitmap = (void *)bitmap};
  return call(vm, KVM_CLEAR_DIRTY_LOG, &log);
}
int ckvm_get_dirty_log(int vm, uint32_t slot, void *bitmap) {
  struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = bitmap};
  return call(vm, KVM_GET_DIRTY_LOG, &log);
}
int ckvm_set_shadow_limit(int vm, uint32_t pages) {
  return result(ioctl(vm, KVM_SET_NR_MMU_PAGES, (unsigned long)pages));
}
int ckvm_enable_manual_dirty_log(int vm) {
  struct kvm_enable_cap cap = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = {1}};
  return call(vm, KVM_ENABLE_CAP, &cap);
}

int ckvm_deny_msrs(int vm) {
  // KVM wants one range at least: the first registers, none of them allowed.
  static __u8 none[8];
  struct kvm_msr_filter filter = {.flags = KVM_MSR_FILTER_DEFAULT_DENY};
  filter.ranges[0].flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
  filter.ranges[0].nmsrs = 64;
  filter.ranges[0].base = 0;
  filter.ranges[0].bitmap = none;
  return call(vm, KVM_X86_SET_MSR_FILTER, &filter);
}

int ckvm_run(int vcpu) { return result(ioctl(vcpu, KVM_RUN, 0)); }
int ckvm_get_registers(int vcpu, struct kvm_regs *r) { return call(vcpu, KVM_GET_REGS, r); }
int ckvm_set_registers(int vcpu, const struct kvm_regs *r) { return call(vcpu, KVM_SET_REGS, (void *)r); }
int ckvm_get_system_registers(int vcpu, struct kvm_sregs *r) { return call(vcpu, KVM_GET_SREGS, r); }
int ckvm_set_system_registers(int vcpu, const struct kvm_sregs *r) {
  return call(vcpu, KVM_SET_SREGS, (void *)r);
}

struct one_msr {
  struct kvm_msrs head;
  struct kvm_msr_entry entry;
};
int ckvm_get_msr(int vcpu, uint32_t index, uint64_t *value) {
  struct one_msr msr = {{1, 0}, {.index = index}};
  int r = call(vcpu, KVM_GET_MSRS, &msr);
  if (r == 0) return -EINVAL;
  if (r > 0) *value = msr.entry.data;
  return r;
}
int ckvm_set_msr(int vcpu, uint32_t index, uint64_t value) {
  struct one_msr msr = {{1, 0}, {.index = index, .data = value}};
  int r = call(vcpu, KVM_SET_MSRS, &msr);
  return r == 0 ? -EINVAL : r;
}
int ckvm_set_msrs(int vcpu, const uint32_t *indices, const uint64_t *values, int count) {
  struct {
    struct kvm_msrs head;
    struct kvm_msr_entry entries[32];
  } msrs = {.head = {.nmsrs = (uint32_t)count}};
  if (count > 32) return -E2BIG;
  for (int i = 0; i < count; i++) msrs.entries[i] = (struct kvm_msr_entry){.index = indices[i], .data = values[i]};
  int r = call(vcpu, KVM_SET_MSRS, &msrs);
  return r >= 0 && r < count ? -EINVAL : r;
}
int ckvm_set_xcr0(int vcpu, uint64_t value) {
  struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = value}}};
  return call(vcpu, KVM_SET_XCRS, &xcrs);
}
int ckvm_get_xsave(int vcpu, struct kvm_xsave *state) { return call(vcpu, KVM_GET_XSAVE, state); }
int ckvm_set_xsave(int vcpu, const struct kvm_xsave *state) { return call(vcpu, KVM_SET_XSAVE, (void *)state); }
int ckvm_get_events(int vcpu, struct kvm_vcpu_events *events) {
  return call(vcpu, KVM_GET_VCPU_EVENTS, events);
}
int ckvm_set_events(int vcpu, const struct kvm_vcpu_events *events) {
  return call(vcpu, KVM_SET_VCPU_EVENTS, (void *)events);
}
int ckvm_set_debug_registers(int vcpu, const struct kvm_debugregs *registers) {
  return call(vcpu, KVM_SET_DEBUGREGS, (void *)registers);
}
int ckvm_set_mp_state(int vcpu, uint32_t state) {
  struct kvm_mp_state mp = {state};
  return call(vcpu, KVM_SET_MP_STATE, &mp);
}
int ckvm_tsc_khz(int vcpu) { return call(vcpu, KVM_GET_TSC_KHZ, NULL); }
int ckvm_set_tsc_offset(int vcpu, uint64_t offset) {
  struct kvm_device_attr attribute = {
      .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uint64_t)&offset};
  return call(vcpu, KVM_SET_DEVICE_ATTR, &attribute);
}

uint64_t ckvm_exit_mmio_data(const struct kvm_run *run) {
  uint64_t value = 0;
  memcpy(&value, run->mmio.data, run->mmio.len <= 8 ? run->mmio.len : 8);
  return value;
}

int ckvm_memory_file(const char *name, uint64_t size) {
  int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return -errno;
  if (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}
void *ckvm_map_shared(int fd, uint64_t length, uint64_t alignment, int *error) {
  // Reserve with slack, place the mapping at the aligned address, give the rest back.
  uint8_t *area = mmap(NULL, length + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) {
    *error = errno;
    return NULL;
  }
  uint8_t *base = (uint8_t *)(((uintptr_t)area + alignment - 1) & ~(uintptr_t)(alignment - 1));
  if (mmap(base, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    *error = errno;
    munmap(area, length + alignment);
    return NULL;
  }
  uint64_t before = (uint64_t)(base - area);
  uint64_t page = 4096, used = (length + page - 1) & ~(page - 1);
  if (before) munmap(area, before);
  if (alignment > before) munmap(base + used, alignment - before - (used - length));
  return base;
}
int ckvm_code_memory(uint64_t size, void **writable, void **executable) {
#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif
  int fd = memfd_create("exo-code", MFD_CLOEXEC | MFD_EXEC);
  // Kernels before 6.3 know no such flag: all their files are so.
  if (fd < 0 && errno == EINVAL) fd = memfd_create("exo-code", MFD_CLOEXEC);
  if (fd < 0) return -errno;
  int error = 0;
  void *w = MAP_FAILED, *x = MAP_FAILED;
  if (ftruncate(fd, (off_t)size)) error = errno;
  if (!error && (w = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED) error = errno;
  if (!error && (x = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0)) == MAP_FAILED) error = errno;
  close(fd);
  if (error) {
    if (w != MAP_FAILED) munmap(w, size);
    return -error;
  }
  *writable = w;
  *executable = x;
  return 0;
}
struct kvm_run *ckvm_map_run(int vcpu, uint64_t size, int *error) {
  void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (page != MAP_FAILED) return page;
  *error = errno;
  return NULL;
}
int ckvm_unmap(void *address, uint64_t length) { return result(munmap(address, length)); }
int ckvm_own_process(void) { return result(syscall(SYS_pidfd_open, getpid(), 0)); }
int ckvm_drop_translations(int process, const struct iovec *ranges, int count) {
  while (count > 0) {
    int part = count < IOV_MAX ? count : IOV_MAX;
    ssize_t length = 0;
    for (int i = 0; i < part; i++) length += (ssize_t)ranges[i].iov_len;
    // One by one where the host does not do it for several ranges (before Linux 6.13), or did not finish.
    if (part == 1 || syscall(SYS_process_madvise, process, ranges, part, MADV_DONTNEED, 0) != length)
      for (int i = 0; i < part; i++)
        if (madvise(ranges[i].iov_base, ranges[i].iov_len, MADV_DONTNEED) < 0) return -errno;
    ranges += part;
    count -= part;
  }
  return 0;
}
int ckvm_punch(int fd, uint64_t offset, uint64_t length) {
  return result(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length));
}

int ckvm_eventfd(void) { return result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }
int ckvm_eventfd_signal(int fd) {
  uint64_t one = 1;
  return result(write(fd, &one, sizeof one));
}
int ckvm_eventfd_drain(int fd) {
  uint64_t count;
  return result(read(fd, &count, sizeof count));
}
int ckvm_poll(struct pollfd *descriptors, int count, int64_t nanoseconds) {
  struct timespec limit = {nanoseconds / 1000000000, nanoseconds % 1000000000};
  return result(ppoll(descriptors, (nfds_t)count, nanoseconds < 0 ? NULL : &limit, NULL));
}
int ckvm_futex_wait(const void *word, uint32_t expected, int64_t nanoseconds) {
  struct timespec limit = {nanoseconds / 1000000000, nanoseconds % 1000000000};
  return result(
      syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, nanoseconds < 0 ? NULL : &limit, NULL, 0));
}
int ckvm_futex_wake(const void *word, int count) {
  return result(syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0));
}

int ckvm_thread_id(void) { return (int)syscall(SYS_gettid); }
int ckvm_name_thread(const char *name) { return result(prctl(PR_SET_NAME, name, 0, 0, 0)); }
int ckvm_pin_thread(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return result(sched_setaffinity(0, sizeof set, &set));
}
int ckvm_allowed_processors(int *processors, int capacity) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set)) return -errno;
  int count = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE && count < capacity; cpu++)
    if (CPU_ISSET(cpu, &set)) processors[count++] = cpu;
  return count;
}

int ckvm_host_features(void) {
  return (__builtin_cpu_supports("avx") ? 1 : 0) | (__builtin_cpu_supports("avx2") ? 2 : 0) |
         (__builtin_cpu_supports("avx512f") ? 4 : 0);
}

// Not a real-time signal: those are queued, one for each kick, and refused when a user's limit of them is reached. This one
// is ignored by default, and one pending is enough.
static int kick_signal(void) { return SIGURG; }
static void on_kick(int signal) { (void)signal; }
int ckvm_install_kick(void) {
  struct sigaction action = {.sa_handler = on_kick};
  return result(sigaction(kick_signal(), &action, NULL));
}
int ckvm_quiet_thread(void) {
  static const int kept[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
  sigset_t blocked;
  sigfillset(&blocked);
  sigdelset(&blocked, kick_signal());
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) sigdelset(&blocked, kept[i]);
  return -pthread_sigmask(SIG_SETMASK, &blocked, NULL);
}
int ckvm_kick_thread(int thread_id) {
  return result(syscall(SYS_tgkill, getpid(), thread_id, kick_signal()));
}

// The kernel's own timer ids, which are small integers, rather than the C library's opaque ones.
int ckvm_timer_create(void) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = kick_signal()};
  event._sigev_un._tid = ckvm_thread_id();
  int id;
  return syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id) < 0 ? -errno : id;
}
int ckvm_timer_set(int timer, uint64_t nanoseconds) {
  // Again after the first time, for a signal that comes just before KVM_RUN is lost; and not too soon, for under
  // emulation a thread that is interrupted every 50 us does little else.
  enum { again = 1000000 };
  const uint64_t period = nanoseconds == 0 || nanoseconds > again ? nanoseconds : again;
  struct itimerspec spec = {
      {(time_t)(period / 1000000000u), (long)(period % 1000000000u)},
      {(time_t)(nanoseconds / 1000000000u), (long)(nanoseconds % 1000000000u)},
  };
  return result(syscall(SYS_timer_settime, timer, 0, &spec, NULL));
}
int ckvm_timer_delete(int timer) { return result(syscall(SYS_timer_delete, timer)); }

static _Thread_local int lane;
void ckvm_set_lane(int number) { lane = number; }
int ckvm_lane(void) { return lane; }

static uint64_t clock_nanoseconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
uint64_t ckvm_monotonic(void) { return clock_nanoseconds(CLOCK_MONOTONIC); }
uint64_t ckvm_realtime(void) { return clock_nanoseconds(CLOCK_REALTIME); }

static int unix_address(struct sockaddr_un *address, const char *path) {
  size_t length = strlen(path);
  if (length >= sizeof address->sun_path) return -ENAMETOOLONG;
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  memcpy(address->sun_path, path, length + 1);
  return 0;
}
static int close_with(int fd, int error) {
  close(fd);
  return -error;
}
int ckvm_socket_listen(const char *path) {
  struct sockaddr_un address;
  int bad = unix_address(&address, path);
  if (bad) return bad;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  // Before it has a name, so that it never has another mode.
  if (fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 16))
    return close_with(fd, errno);
  return fd;
}
int ckvm_socket_connect(const char *path) {
  struct sockaddr_un address;
  int bad = unix_address(&address, path);
  if (bad) return bad;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  // Where its queue is full this would wait for ever: whoever serves it may have been stopped.
  struct timeval limit = {2, 0};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  int r;
  do r = connect(fd, (struct sockaddr *)&address, sizeof address);
  while (r < 0 && errno == EINTR);
  return r < 0 ? close_with(fd, errno) : fd;
}
int ckvm_socket_accept(int listener) {
  return result(accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
}
int ckvm_socket_peer(int socket, uint32_t *user) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length)) return -errno;
  *user = peer.uid;
  return 0;
}
int ckvm_socket_send(int socket, const void *bytes, int count) {
  return result(send(socket, bytes, (size_t)count, MSG_NOSIGNAL | MSG_DONTWAIT));
}
int ckvm_terminal_size(int terminal, int *rows, int *columns) {
  struct winsize size;
  if (ioctl(terminal, TIOCGWINSZ, &size)) return -errno;
  *rows = size.ws_row;
  *columns = size.ws_col;
  return 0;
}
