#include "linux.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// The empty statement keeps the compiler from seeing that the function does nothing.
__attribute__((noinline)) static void nothing(void) { __asm__ volatile("" ::: "memory"); }

double linux_procedure_call(struct bench_linux *l, uint32_t iterations) {
  (void)l;
  uint64_t begin = bench_ticks();
  for (uint32_t i = 0; i < iterations; i++) nothing();
  return linux_each(bench_ticks() - begin, iterations);
}

// Through the C library's syscall(2): getpid() itself was cached by some of its versions.
double linux_libos_call(struct bench_linux *l, uint32_t iterations) {
  (void)l;
  uint64_t begin = bench_ticks();
  for (uint32_t i = 0; i < iterations; i++) syscall(SYS_getpid);
  return linux_each(bench_ticks() - begin, iterations);
}

static inline long null_call(void) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_getpid) : "rcx", "r11", "memory");
  return result;
}
double linux_null_call(struct bench_linux *l, uint32_t iterations) {
  (void)l;
  uint64_t begin = bench_ticks();
  for (uint32_t i = 0; i < iterations; i++) null_call();
  return linux_each(bench_ticks() - begin, iterations);
}
// Linux has no batch of plain system calls.
double linux_batch(struct bench_linux *l, uint32_t iterations) { return linux_null_call(l, iterations); }

double linux_clock(struct bench_linux *l, uint32_t iterations) {
  (void)l;
  struct timespec t;
  uint64_t begin = bench_ticks();
  for (uint32_t i = 0; i < iterations; i++) {
    clock_gettime(CLOCK_MONOTONIC, &t);
    __asm__ volatile("" ::"m"(t));  // the reading is used
  }
  return linux_each(bench_ticks() - begin, iterations);
}
