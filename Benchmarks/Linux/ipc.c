// Round trips between two processes. The peer is a process of its own, started for the run; the first hundred
// trips, which touch every page and settle the scheduler, are not counted.
#include "linux.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WARM 100

// --- Bytes through a descriptor: pipes and sockets alike.
static void echo_bytes(struct shared *shared, int from, int to) {
  (void)shared;
  char byte;
  while (read(from, &byte, 1) == 1 && write(to, &byte, 1) == 1) continue;
}
static int trip_bytes(struct peer *peer) {
  char byte = 1;
  return write(peer->to, &byte, 1) == 1 && read(peer->from, &byte, 1) == 1 ? 0 : -EIO;
}
static double bytes(struct bench_linux *l, uint32_t iterations, int which, int streams) {
  struct peer peer;
  int r = linux_peer_start(l, &peer, which, streams, echo_bytes);
  if (r) return r;
  for (int i = 0; i < WARM && !r; i++) r = trip_bytes(&peer);
  uint64_t begin = bench_ticks();
  for (uint32_t i = 0; i < iterations && !r; i++) r = trip_bytes(&peer);
  uint64_t ticks = bench_ticks() - begin;
  linux_peer_stop(&peer);
  return r ? r : linux_each(ticks, iterations);
}
double linux_pipe(struct bench_linux *l, uint32_t n, int which) { return bytes(l, n, which, 1); }
double linux_socket(struct bench_linux *l, uint32_t n, int which) { return bytes(l, n, which, 2); }

// --- Words in shared memory, waited for in three ways.
static void wait_futex(uint64_t *word, uint64_t old) {
  struct timespec second = {.tv_sec = 1};
  while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == old)
    syscall(SYS_futex, word, FUTEX_WAIT, (uint32_t)old, &second, NULL, 0);
}
static void wake_futex(uint64_t *word) { syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0); }
static void wait_yield(uint64_t *word, uint64_t old) {
  while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == old) sched_yield();
}
static void wait_spin(uint64_t *word, uint64_t old) {
  while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == old) continue;
}
static void wake_nobody(uint64_t *word) { (void)word; }

#define WORDS(name, wait, wake)                                                      \
  static void echo_##name(struct shared *shared, int from, int to) {                 \
    (void)from, (void)to;                                                            \
    for (uint64_t n = 0;; n++) {                                                     \
      wait(&shared->request.word, n);                                                \
      __atomic_store_n(&shared->reply.word, n + 1, __ATOMIC_RELEASE);                \
      wake(&shared->reply.word);                                                     \
    }                                                                                \
  }                                                                                  \
  double linux_##name(struct bench_linux *l, uint32_t iterations, int which) {       \
    struct peer peer;                                                                \
    int r = linux_peer_start(l, &peer, which, 0, echo_##name);                       \
    if (r) return r;                                                                 \
    uint64_t begin = 0, total = (uint64_t)iterations + WARM;                         \
    for (uint64_t n = 0; n < total; n++) {                                           \
      if (n == WARM) begin = bench_ticks();                                          \
      __atomic_store_n(&l->shared->request.word, n + 1, __ATOMIC_RELEASE);           \
      wake(&l->shared->request.word);                                                \
      wait(&l->shared->reply.word, n);                                               \
    }                                                                                \
    uint64_t ticks = bench_ticks() - begin;                                          \
    linux_peer_stop(&peer);                                                          \
    return linux_each(ticks, iterations);                                            \
  }
WORDS(futex, wait_futex, wake_futex)
WORDS(yield, wait_yield, wake_nobody)
WORDS(spin, wait_spin, wake_nobody)

// --- 64 KiB through a pipe, answered by a byte.
#define BLOCK 65536
static void echo_block(struct shared *shared, int from, int to) {
  (void)shared;
  static char block[BLOCK];
  for (;;) {
    for (ssize_t got = 0, r; got < BLOCK; got += r)
      if ((r = read(from, block, BLOCK)) <= 0) return;
    if (write(to, block, 1) != 1) return;
  }
}
static int trip_block(struct peer *peer, const char *block) {
  char byte;
  for (ssize_t put = 0, r; put < BLOCK; put += r)
    if ((r = write(peer->to, block + put, (size_t)(BLOCK - put))) <= 0) return -EIO;
  return read(peer->from, &byte, 1) == 1 ? 0 : -EIO;
}
double linux_pipe_64k(struct bench_linux *l, uint32_t iterations, int which) {
  static char block[BLOCK];
  struct peer peer;
  int r = linux_peer_start(l, &peer, which, 1, echo_block);
  if (r) return r;
  for (int i = 0; i < 10 && !r; i++) r = trip_block(&peer, block);
  uint64_t begin = bench_ticks();
  for (uint32_t i = 0; i < iterations && !r; i++) r = trip_block(&peer, block);
  uint64_t ticks = bench_ticks() - begin;
  linux_peer_stop(&peer);
  return r ? r : linux_each(ticks, iterations);
}

// --- A signal to a process that computes on the other processor; one way, to the handler's first statement.
static struct shared *handler_page;
static void on_signal(int signal, siginfo_t *info, void *context) {
  uint64_t now = bench_ticks();
  (void)signal, (void)info, (void)context;
  handler_page->stamp.word = now;
  __atomic_fetch_add(&handler_page->count.word, 1, __ATOMIC_RELEASE);
}
static void spin_for_signals(struct shared *shared, int from, int to) {
  (void)from, (void)to;
  struct sigaction before;
  sigset_t unblocked;  // the thread that forked may block it
  sigemptyset(&unblocked);
  sigaddset(&unblocked, SIGUSR1);
  sigprocmask(SIG_UNBLOCK, &unblocked, NULL);
  handler_page = shared;
  linux_handle(SIGUSR1, on_signal, &before);
  __atomic_store_n(&shared->ready.word, 1, __ATOMIC_RELEASE);
  for (;;) __asm__ volatile("" ::: "memory");
}
double linux_signal(struct bench_linux *l, uint32_t iterations, int which) {
  struct peer peer;
  int r = linux_peer_start(l, &peer, which, 0, spin_for_signals);
  if (r) return r;
  r = linux_peer_ready(l, &peer);
  uint64_t total = 0;
  struct bench_deadline deadline = bench_deadline_after(BENCH_PATIENCE);
  for (uint64_t n = 0; n < iterations && !r; n++) {
    uint64_t begin = bench_ticks();
    kill(peer.process, SIGUSR1);
    while (__atomic_load_n(&l->shared->count.word, __ATOMIC_ACQUIRE) == n && !r)
      if (bench_expired(&deadline)) r = -ETIMEDOUT;
    total += l->shared->stamp.word - begin;
  }
  linux_peer_stop(&peer);
  return r ? r : linux_each(total, iterations);
}
