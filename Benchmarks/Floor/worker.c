#include "floor.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// The signal that brings a thread out of KVM_RUN; its handler does nothing.
static int kick_signal(void) { return SIGRTMIN + 9; }
static void on_kick(int signal) { (void)signal; }

static void *work(void *argument) {
  struct worker *worker = argument;
  struct bench_place place;
  bench_pin(worker->which, &place);
  sigset_t unblocked;  // whoever made this thread may block it
  sigemptyset(&unblocked);
  sigaddset(&unblocked, kick_signal());
  pthread_sigmask(SIG_UNBLOCK, &unblocked, NULL);
  pthread_mutex_lock(&worker->lock);
  worker->thread_id = (int)syscall(SYS_gettid);
  for (;;) {
    while (!worker->busy && !worker->stop) pthread_cond_wait(&worker->changed, &worker->lock);
    if (worker->stop) break;
    pthread_mutex_unlock(&worker->lock);
    double result = worker->job(worker, worker->argument);
    pthread_mutex_lock(&worker->lock);
    worker->result = result;
    worker->busy = false;
    pthread_cond_broadcast(&worker->changed);
  }
  pthread_mutex_unlock(&worker->lock);
  return NULL;
}

int worker_start(struct worker *worker, struct bench_floor *floor, int which) {
  struct sigaction action = {.sa_handler = on_kick};
  sigemptyset(&action.sa_mask);
  if (sigaction(kick_signal(), &action, NULL)) return -errno;
  worker->floor = floor;
  worker->which = which;
  pthread_mutex_init(&worker->lock, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&worker->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  int r = pthread_create(&worker->thread, NULL, work, worker);
  worker->started = r == 0;
  return -r;
}

void worker_stop(struct worker *worker) {
  if (!worker->started) return;
  pthread_mutex_lock(&worker->lock);
  bool stuck = worker->busy;
  worker->stop = true;
  pthread_cond_broadcast(&worker->changed);
  pthread_mutex_unlock(&worker->lock);
  if (stuck) pthread_detach(worker->thread);
  else pthread_join(worker->thread, NULL);
  worker->started = false;
}

void worker_begin(struct worker *worker, double (*job)(struct worker *, void *), void *argument) {
  pthread_mutex_lock(&worker->lock);
  worker->job = job;
  worker->argument = argument;
  worker->cancelled = false;
  worker->busy = true;
  pthread_cond_broadcast(&worker->changed);
  pthread_mutex_unlock(&worker->lock);
}

// Waits until `nanoseconds` from now at most; with the lock held.
static bool wait_idle(struct worker *worker, uint64_t nanoseconds) {
  struct timespec end;
  clock_gettime(CLOCK_MONOTONIC, &end);
  uint64_t total = (uint64_t)end.tv_nsec + nanoseconds;
  end.tv_sec += (time_t)(total / 1000000000);
  end.tv_nsec = (long)(total % 1000000000);
  while (worker->busy)
    if (pthread_cond_timedwait(&worker->changed, &worker->lock, &end) == ETIMEDOUT) return !worker->busy;
  return true;
}

void worker_kick(struct worker *worker) {
  struct kvm_run *run = worker->running;
  if (run) __atomic_store_n(&run->immediate_exit, 1, __ATOMIC_SEQ_CST);
  syscall(SYS_tgkill, getpid(), worker->thread_id, kick_signal());
}

double worker_end(struct worker *worker, bool give_up) {
  pthread_mutex_lock(&worker->lock);
  bool idle = wait_idle(worker, give_up ? 0 : (uint64_t)(BENCH_PATIENCE * 1e9));
  // A kick that comes just before KVM_RUN would be lost without the flag in the run page, and that flag is
  // cleared as a run begins: so it is repeated until the job has ended.
  for (int i = 0; !idle && i < 200; i++) {
    worker->cancelled = true;
    worker_kick(worker);
    idle = wait_idle(worker, 10000000);
  }
  double result = worker->cancelled || !idle ? -ETIMEDOUT : worker->result;
  if (!idle) worker->floor->broken = true;
  pthread_mutex_unlock(&worker->lock);
  return result;
}
