// A wire for rows about datagrams: a network namespace of its own with one end of a pair of interfaces, from which datagrams of
// 60 bytes are sent to 10.77.0.2, port 7, wherever that is at the other end, and come back. Nothing leaves it.
#include "linux.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
enum { SIZE = 60 };

struct bench_wire {
  int before, own;  // namespaces: the caller's, the wire's
  int client;
};

// Runs `ip` where the calling thread is.
static int ip(const char *a, const char *b, const char *c, const char *d, const char *e, const char *f, const char *g,
              const char *h) {
  const char *words[] = {"ip", a, b, c, d, e, f, g, h, NULL};
  pid_t child;
  int status = 0;
  int result = posix_spawnp(&child, "ip", NULL, NULL, (char **)words, environ);
  if (result) return -result;
  if (waitpid(child, &status, 0) < 0) return -errno;
  return status ? -ENODEV : 0;
}

int bench_wire_enter(struct bench_wire *wire) { return setns(wire->own, CLONE_NEWNET) ? -errno : 0; }
void bench_wire_leave(struct bench_wire *wire) { (void)!setns(wire->before, CLONE_NEWNET); }

static int make_client(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(7)};
  struct timeval patience = {.tv_sec = 2};
  inet_pton(AF_INET, "10.77.0.2", &to.sin_addr);
  int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (client < 0) return -errno;
  if (setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) ||
      connect(client, (struct sockaddr *)&to, sizeof to)) {
    int result = -errno;
    close(client);
    return result;
  }
  return client;
}

int bench_wire_open(struct bench_wire **out) {
  struct bench_wire *wire = calloc(1, sizeof *wire);
  *out = NULL;
  if (!wire) return -ENOMEM;
  wire->own = wire->client = -1;
  int result = wire->before = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (result < 0) result = -errno;
  if (result >= 0) result = unshare(CLONE_NEWNET) ? -errno : 0;
  if (result < 0) {
    bench_wire_close(wire);
    return result;
  }
  wire->own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  result = wire->own < 0 ? -errno : ip("link", "add", "exo0", "type", "veth", "peer", "name", "exo1");
  if (!result) result = ip("address", "add", "10.77.0.1/24", "dev", "exo0", NULL, NULL, NULL);
  if (!result) result = ip("link", "set", "exo0", "up", NULL, NULL, NULL, NULL);
  if (!result) result = ip("link", "set", "exo1", "up", NULL, NULL, NULL, NULL);
  if (!result) result = wire->client = make_client();
  bench_wire_leave(wire);
  if (result < 0) bench_wire_close(wire);
  else *out = wire;
  return result < 0 ? result : 0;
}

void bench_wire_close(struct bench_wire *wire) {
  if (!wire) return;
  if (wire->client >= 0) close(wire->client);
  if (wire->own >= 0) close(wire->own);
  if (wire->before >= 0) close(wire->before);
  free(wire);
}

double bench_wire_round_trips(struct bench_wire *wire, uint32_t iterations) {
  char message[SIZE], answer[SIZE + 1];
  memset(message, 0, sizeof message);
  uint64_t begin = bench_ticks();
  for (uint32_t n = 0; n < iterations; n++) {
    memcpy(message, &n, sizeof n);
    if (send(wire->client, message, SIZE, 0) != SIZE) return -errno;
    ssize_t length = recv(wire->client, answer, sizeof answer, 0);
    if (length < 0) return errno == EAGAIN ? -ETIMEDOUT : -errno;
    if (length != SIZE || memcmp(message, answer, SIZE)) return -EBADMSG;
  }
  return linux_each(bench_ticks() - begin, iterations);
}

// The child goes to a namespace of its own, says so, and is given the other end.
static _Noreturn void echo(int ready) {
  char block[2048];
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(7)}, from;
  struct bench_place place;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  bench_pin(bench_processor_count() > 1, &place);
  if (unshare(CLONE_NEWNET)) _exit(1);
  int server = socket(AF_INET, SOCK_DGRAM, 0);
  if (server < 0 || bind(server, (struct sockaddr *)&own, sizeof own)) _exit(1);
  if (write(ready, "!", 1) != 1) _exit(1);
  for (;;) {
    socklen_t size = sizeof from;
    ssize_t length = recvfrom(server, block, sizeof block, 0, (struct sockaddr *)&from, &size);
    if (length >= 0) (void)!sendto(server, block, (size_t)length, 0, (struct sockaddr *)&from, size);
  }
}

static int give(struct bench_wire *wire, pid_t child) {
  char number[16], path[64];
  snprintf(number, sizeof number, "%d", (int)child);
  snprintf(path, sizeof path, "/proc/%d/ns/net", (int)child);
  int result = bench_wire_enter(wire);
  if (!result) result = ip("link", "set", "exo1", "netns", number, NULL, NULL, NULL);
  int theirs = open(path, O_RDONLY | O_CLOEXEC);
  if (!result) result = theirs < 0 || setns(theirs, CLONE_NEWNET) ? -errno : 0;
  if (!result) result = ip("address", "add", "10.77.0.2/24", "dev", "exo1", NULL, NULL, NULL);
  if (!result) result = ip("link", "set", "exo1", "up", NULL, NULL, NULL, NULL);
  bench_wire_leave(wire);
  if (theirs >= 0) close(theirs);
  return result;
}

// Computes for ever where the echo is, until whoever began it ends.
static _Noreturn void compute(void) {
  struct bench_place place;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  bench_pin(bench_processor_count() > 1, &place);
  for (volatile uint64_t turns = 0;; turns++);
}

static double round_trips_beside(int others, uint32_t iterations) {
  struct bench_wire *wire;
  int ready[2];
  char word;
  int result = bench_wire_open(&wire);
  if (result) return result;
  if (pipe2(ready, O_CLOEXEC)) {
    bench_wire_close(wire);
    return -errno;
  }
  pid_t computing[16], child = fork();
  if (child == 0) echo(ready[1]);
  for (int i = 0; i < others; i++) {
    computing[i] = fork();
    if (computing[i] == 0) compute();
  }
  close(ready[1]);
  double ns = child < 0 || read(ready[0], &word, 1) != 1 ? -EPERM : give(wire, child);
  close(ready[0]);
  // The first has neighbours to find.
  if (ns >= 0) ns = bench_wire_round_trips(wire, 1);
  if (ns >= 0) ns = bench_wire_round_trips(wire, iterations);
  for (int i = 0; i <= others; i++) {
    pid_t each = i < others ? computing[i] : child;
    if (each <= 0) continue;
    kill(each, SIGKILL);
    waitpid(each, NULL, 0);
  }
  bench_wire_close(wire);
  return ns;
}

double linux_udp_rtt(struct bench_linux *l, uint32_t iterations) {
  (void)l;
  return round_trips_beside(0, iterations);
}
double linux_udp_rtt_beside_9(struct bench_linux *l, uint32_t iterations) {
  (void)l;
  return round_trips_beside(9, iterations);
}
