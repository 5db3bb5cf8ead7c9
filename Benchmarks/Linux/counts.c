#include "linux.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

// The same paths under Linux, each sixteen times, of which the last eight are told: by then nothing is new to it.
#define RUNS 16
#define TOLD 8

static inline uint32_t now(void) { return (uint32_t)bench_ticks(); }

static volatile uint32_t handled;
static int length;
static void handler(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  handled = now();
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += length;
}

static void *read_only_page(void) {
  static void *page;
  if (!page) {
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return page = NULL;
    *(volatile char *)page = 1;
    mprotect(page, 4096, PROT_READ);
  }
  return page;
}

static void raise_de(void) { __asm__ volatile("divl %%ecx" ::"c"(0), "a"(1), "d"(0) : "memory"); }
static void raise_bp(void) { __asm__ volatile("int3" ::: "memory"); }
static void raise_ud(void) { __asm__ volatile("ud2" ::: "memory"); }
static void raise_gp(void) { __asm__ volatile("movl (%%rcx), %%eax" ::"c"(1ul << 63) : "rax", "memory"); }
static void raise_pf(void) { __asm__ volatile("movq %%rax, (%%rsi)" ::"S"(read_only_page()) : "memory"); }

// Ticks from before the instruction to the handler's first statement, or to after the instruction.
static int signal_path(int number, int skip, void (*raise)(void), int round, uint32_t *ticks) {
  struct sigaction before;
  length = skip;
  linux_handle(number, handler, &before);
  for (int i = 0; i < RUNS; i++) {
    uint32_t begin = now();
    raise();
    uint32_t end = round ? now() : handled;
    ticks[i % TOLD] = end - begin;
  }
  linux_unhandle(number, &before);
  return 0;
}

static int nothing(uint32_t *ticks) {
  for (int i = 0; i < RUNS; i++) {
    uint32_t begin = now();
    ticks[i % TOLD] = now() - begin;
  }
  return 0;
}

static int getpid_call(uint32_t *ticks) {
  for (int i = 0; i < RUNS; i++) {
    uint32_t begin = now();
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_getpid) : "rcx", "r11", "memory");
    ticks[i % TOLD] = now() - begin;
  }
  return 0;
}

static int protect(uint32_t *ticks) {
  char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return -errno;
  for (int i = 0; i < RUNS; i++) {
    *(volatile char *)page = 1;
    uint32_t begin = now();
    mprotect(page, 4096, PROT_READ);
    ticks[i % TOLD] = now() - begin;
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
  }
  munmap(page, 4096);
  return 0;
}

// One byte to another process and one back, on one processor: two hand-overs.
static int pipe_path(uint32_t *ticks) {
  int to[2], from[2];
  char byte = 0;
  if (pipe(to) < 0 || pipe(from) < 0) return -errno;
  pid_t child = fork();
  if (child < 0) return -errno;
  if (child == 0) {
    close(to[1]);
    while (read(to[0], &byte, 1) == 1)
      if (write(from[1], &byte, 1) != 1) break;
    _exit(0);
  }
  close(to[0]);
  close(from[1]);
  int result = 0;
  for (int i = 0; i < RUNS && result == 0; i++) {
    uint32_t begin = now();
    if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1) result = -EPIPE;
    ticks[i % TOLD] = now() - begin;
  }
  close(to[1]);
  close(from[0]);
  waitpid(child, NULL, 0);
  return result;
}

static int de_there(uint32_t *t) { return signal_path(SIGFPE, 2, raise_de, 0, t); }
static int de_round(uint32_t *t) { return signal_path(SIGFPE, 2, raise_de, 1, t); }
static int bp_there(uint32_t *t) { return signal_path(SIGTRAP, 0, raise_bp, 0, t); }
static int bp_round(uint32_t *t) { return signal_path(SIGTRAP, 0, raise_bp, 1, t); }
static int ud_there(uint32_t *t) { return signal_path(SIGILL, 2, raise_ud, 0, t); }
static int ud_round(uint32_t *t) { return signal_path(SIGILL, 2, raise_ud, 1, t); }
static int gp_there(uint32_t *t) { return signal_path(SIGSEGV, 2, raise_gp, 0, t); }
static int gp_round(uint32_t *t) { return signal_path(SIGSEGV, 2, raise_gp, 1, t); }
static int pf_there(uint32_t *t) { return read_only_page() ? signal_path(SIGSEGV, 3, raise_pf, 0, t) : -ENOMEM; }
static int pf_round(uint32_t *t) { return read_only_page() ? signal_path(SIGSEGV, 3, raise_pf, 1, t) : -ENOMEM; }

int bench_linux_count(int index, const char **name, uint32_t *ticks) {
  static const struct {
    const char *name;
    int (*run)(uint32_t *);
  } paths[] = {
      {"nothing", nothing},       {"sigfpe_there", de_there},  {"sigfpe_round", de_round},
      {"sigtrap_there", bp_there}, {"sigtrap_round", bp_round}, {"sigill_there", ud_there},
      {"sigill_round", ud_round}, {"sigsegv_there", gp_there}, {"sigsegv_round", gp_round},
      {"sigsegv_page_there", pf_there}, {"sigsegv_page_round", pf_round},
      {"getpid", getpid_call},    {"mprotect", protect},       {"pipe_round", pipe_path},
  };
  if (index < 0 || index >= (int)(sizeof paths / sizeof *paths)) return 0;
  *name = paths[index].name;
  int result = paths[index].run(ticks);
  return result < 0 ? result : 1;
}
