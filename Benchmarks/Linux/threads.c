// Two threads of one process that give a processor to each other. The thread that is measured starts the other, which inherits
// its processor.
#include "linux.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WARM = 100 };

// Whose turn it is: the first's at 0, the second's at 1; 2 ends the second.
struct turns {
  _Alignas(64) uint32_t turn;
  bool yields;
};

static void give(struct turns *turns, uint32_t turn) {
  __atomic_store_n(&turns->turn, turn, __ATOMIC_RELEASE);
  if (!turns->yields) syscall(SYS_futex, &turns->turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
// Waits while it is `other`'s turn.
static uint32_t await(struct turns *turns, uint32_t other) {
  uint32_t now;
  while ((now = __atomic_load_n(&turns->turn, __ATOMIC_ACQUIRE)) == other) {
    if (turns->yields) sched_yield();
    else syscall(SYS_futex, &turns->turn, FUTEX_WAIT_PRIVATE, other, NULL, NULL, 0);
  }
  return now;
}
static void *second(void *argument) {
  struct turns *turns = argument;
  while (await(turns, 0) == 1) give(turns, 0);
  return NULL;
}

static double hand_off(uint32_t iterations, bool yields) {
  struct turns turns = {.yields = yields};
  pthread_t thread;
  int r = pthread_create(&thread, NULL, second, &turns);
  if (r) return -r;
  uint64_t begin = 0;
  for (uint64_t n = 0; n < (uint64_t)iterations + WARM; n++) {
    if (n == WARM) begin = bench_ticks();
    give(&turns, 1);
    await(&turns, 1);
  }
  uint64_t ticks = bench_ticks() - begin;
  give(&turns, 2);
  pthread_join(thread, NULL);
  return linux_each(ticks, iterations);
}
double linux_thread_futex(struct bench_linux *l, uint32_t n, int which) { return (void)l, (void)which, hand_off(n, false); }
double linux_thread_yield(struct bench_linux *l, uint32_t n, int which) { return (void)l, (void)which, hand_off(n, true); }
