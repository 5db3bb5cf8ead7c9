#include "linux.h"

#include <sys/mman.h>
#include <ucontext.h>

// Handlers step over the instruction by editing the saved context; nothing is unwound, so that both directions
// of the trip are measured: fault to handler, and rt_sigreturn back.
static void skip(void *context, int bytes) {
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += bytes;
}
static void skip0(int s, siginfo_t *i, void *c) { (void)s, (void)i, (void)c; }
static void skip2(int s, siginfo_t *i, void *c) { (void)s, (void)i, skip(c, 2); }
static void skip3(int s, siginfo_t *i, void *c) { (void)s, (void)i, skip(c, 3); }
static void skip4(int s, siginfo_t *i, void *c) { (void)s, (void)i, skip(c, 4); }

void linux_handle(int signal, void (*handler)(int, siginfo_t *, void *), struct sigaction *before) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, before);
}
void linux_unhandle(int signal, const struct sigaction *before) { sigaction(signal, before, NULL); }

#define TIMED(signal, handler, instruction, ...)                                  \
  do {                                                                            \
    struct sigaction before;                                                      \
    linux_handle(signal, handler, &before);                                       \
    uint64_t begin = bench_ticks();                                               \
    for (uint32_t i = 0; i < iterations; i++) __asm__ volatile(instruction : __VA_ARGS__); \
    uint64_t ticks = bench_ticks() - begin;                                       \
    linux_unhandle(signal, &before);                                              \
    (void)l;                                                                      \
    return linux_each(ticks, iterations);                                         \
  } while (0)

double linux_sigfpe(struct bench_linux *l, uint32_t iterations) {
  TIMED(SIGFPE, skip2, "divl %%ecx", : "c"(0), "a"(1), "d"(0) : "memory");
}
double linux_sigtrap(struct bench_linux *l, uint32_t iterations) {
  TIMED(SIGTRAP, skip0, "int3", :: "memory");
}
double linux_sigill(struct bench_linux *l, uint32_t iterations) { TIMED(SIGILL, skip2, "ud2", :: "memory"); }
double linux_sigsegv_noncanonical(struct bench_linux *l, uint32_t iterations) {
  TIMED(SIGSEGV, skip2, "movl (%%rcx),%%eax", : "c"(0x8000000000000000ul) : "rax", "memory");
}
double linux_sigsegv(struct bench_linux *l, uint32_t iterations) {
  // Present and read, so that the fault is one of protection, not of absence.
  static volatile char *page;
  if (!page) {
    void *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) return -errno;
    *(volatile char *)m = 1;
    if (mprotect(m, 4096, PROT_READ)) return -errno;
    page = m;
  }
  TIMED(SIGSEGV, skip3, "movq %%rcx,(%%rsi)", : "S"(page), "c"(1) : "memory");
}
double linux_overflow(struct bench_linux *l, uint32_t iterations) {
  // The kernel gives the handler default MXCSR and restores ours on return.
  uint32_t before = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before & ~0x400u);
  struct sigaction old;
  linux_handle(SIGFPE, skip4, &old);
  double huge = 1e308;
  uint64_t begin = bench_ticks();
  for (uint32_t i = 0; i < iterations; i++) {
    register double a __asm__("xmm0") = huge, b __asm__("xmm1") = huge;
    __asm__ volatile("mulsd %0,%1" : "+x"(a), "+x"(b));
  }
  uint64_t ticks = bench_ticks() - begin;
  linux_unhandle(SIGFPE, &old);
  __builtin_ia32_ldmxcsr(before);
  (void)l;
  return linux_each(ticks, iterations);
}
double linux_unaligned(struct bench_linux *l, uint32_t iterations) {
  // The flag is set only inside the assembly: compiled code may load without alignment wherever it likes.
  static _Alignas(16) uint32_t words[4];
  struct sigaction old;
  linux_handle(SIGBUS, skip3, &old);
  uint64_t count = iterations, begin = bench_ticks();
  __asm__ volatile(
      "pushfq\n orl $0x40000,(%%rsp)\n popfq\n"
      "1: movl 1(%%rsi),%%eax\n dec %0\n jnz 1b\n"
      "pushfq\n andl $~0x40000,(%%rsp)\n popfq"
      : "+r"(count)
      : "S"(words)
      : "rax", "memory", "cc");
  uint64_t ticks = bench_ticks() - begin;
  linux_unhandle(SIGBUS, &old);
  (void)l;
  return linux_each(ticks, iterations);
}
