#include "linux.h"

#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int linux_peer_start(struct bench_linux *l, struct peer *peer, int which, int streams,
                     void (*body)(struct shared *, int, int)) {
  return linux_peer_start_more(l, peer, which, streams, body, false);
}
int linux_peer_start_more(struct bench_linux *l, struct peer *peer, int which, int streams,
                          void (*body)(struct shared *, int, int), bool more) {
  if (which == CROSS && bench_processor_count() < 2) return -ENODEV;
  int there[2] = {-1, -1}, back[2] = {-1, -1};
  if (streams == 1 && (pipe2(there, O_CLOEXEC) || pipe2(back, O_CLOEXEC))) return -errno;
  if (streams == 2) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) return -errno;
    there[1] = back[0] = ends[0];
    there[0] = back[1] = ends[1];
  }
  if (!more) memset(l->shared, 0, sizeof *l->shared);
  pid_t process = fork();
  if (process == 0) {
    // This process has other threads: the child calls only what a signal handler might.
    struct bench_place place;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_pin(which, &place);
    if (there[1] >= 0) close(there[1]);
    if (back[0] >= 0 && back[0] != there[1]) close(back[0]);
    body(l->shared, there[0], back[1]);
    _exit(0);
  }
  int error = errno;
  if (there[0] >= 0) close(there[0]);
  if (back[1] >= 0 && back[1] != there[0]) close(back[1]);
  *peer = (struct peer){.process = process, .to = there[1], .from = back[0]};
  return process < 0 ? -error : 0;
}

void linux_peer_stop(struct peer *peer) {
  if (peer->to >= 0) close(peer->to);
  if (peer->from >= 0 && peer->from != peer->to) close(peer->from);
  if (peer->process > 0) {
    kill(peer->process, SIGKILL);
    waitpid(peer->process, NULL, 0);
  }
}

int linux_peer_ready(struct bench_linux *l, struct peer *peer) {
  (void)peer;
  struct bench_deadline deadline = bench_deadline_after(BENCH_PATIENCE);
  while (!__atomic_load_n(&l->shared->ready.word, __ATOMIC_ACQUIRE)) {
    if (bench_expired(&deadline)) return -ETIMEDOUT;
    sched_yield();
  }
  return 0;
}
