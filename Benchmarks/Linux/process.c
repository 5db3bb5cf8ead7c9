#include "linux.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern const uint8_t bench_image_start[], bench_image_end[];

int linux_make_image(struct bench_linux *l) {
  l->image = memfd_create("bench-image", MFD_CLOEXEC);
  if (l->image < 0) return -errno;
  ssize_t size = bench_image_end - bench_image_start;
  return write(l->image, bench_image_start, (size_t)size) == size ? 0 : -EIO;
}

// posix_spawn borrows the parent's address space until the program starts, so the size of this process does not
// count. The child inherits our processor.
static int spawn(struct bench_linux *l, char *name, int in, int out, pid_t *child) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", l->image);
  char *arguments[] = {name, NULL}, *variables[] = {NULL};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (in >= 0) posix_spawn_file_actions_adddup2(&actions, in, 0);
  if (out >= 0) posix_spawn_file_actions_adddup2(&actions, out, 1);
  int r = posix_spawn(child, path, &actions, NULL, arguments, variables);
  posix_spawn_file_actions_destroy(&actions);
  return -r;
}
static int read_bounded(int fd, void *into, size_t size) {
  struct pollfd waiting = {.fd = fd, .events = POLLIN};
  if (poll(&waiting, 1, (int)(BENCH_PATIENCE * 1000)) != 1) return -ETIMEDOUT;
  ssize_t r = read(fd, into, size);
  return r < 0 ? -errno : (int)r;
}

double linux_spawn_wait(struct bench_linux *l, uint32_t iterations) {
  uint64_t begin = bench_ticks();
  for (uint32_t i = 0; i < iterations; i++) {
    pid_t child;
    int r = spawn(l, "x", -1, -1, &child);
    if (r) return r;
    waitpid(child, NULL, 0);
  }
  return linux_each(bench_ticks() - begin, iterations);
}

// Spawns one program after another with its output in a pipe. `stamp`: counts from before the spawn to the clock
// reading that the program sends; else to its end.
static double spawn_piped(struct bench_linux *l, uint32_t iterations, char *name, bool stamp) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) return -errno;
  uint64_t total = 0;
  int r = 0;
  for (uint32_t i = 0; i < iterations && r >= 0; i++) {
    pid_t child;
    uint64_t words[2], begin = bench_ticks();
    if ((r = spawn(l, name, -1, ends[1], &child))) break;
    r = read_bounded(ends[0], words, sizeof words);
    waitpid(child, NULL, 0);
    total += (stamp ? words[0] : bench_ticks()) - begin;
    if (r == 0) r = -EIO;
  }
  close(ends[0]);
  close(ends[1]);
  return r < 0 ? r : linux_each(total, iterations);
}
double linux_spawn_first(struct bench_linux *l, uint32_t iterations) {
  return spawn_piped(l, iterations, "t", true);
}
double linux_spawn_hello(struct bench_linux *l, uint32_t iterations) {
  return spawn_piped(l, iterations, "h", false);
}

// The time of fork grows with the memory of the process that forks, and this one is large: so the smallest
// program forks itself.
static int start_forker(struct bench_linux *l) {
  int in[2], out[2];
  if (pipe2(in, O_CLOEXEC)) return -errno;
  if (pipe2(out, O_CLOEXEC)) {
    int r = -errno;
    close(in[0]);
    close(in[1]);
    return r;
  }
  int r = spawn(l, "f", in[0], out[1], &l->forker);
  close(in[0]);
  close(out[1]);
  l->forker_in = in[1];
  l->forker_out = out[0];
  if (r) l->forker = 0;
  return r;
}
double linux_fork_first(struct bench_linux *l, uint32_t iterations) {
  int r = l->forker ? 0 : start_forker(l);
  if (r) return r;
  uint64_t word = iterations;
  if (write(l->forker_in, &word, sizeof word) != sizeof word) return -EIO;
  r = read_bounded(l->forker_out, &word, sizeof word);
  return r == sizeof word ? linux_each(word, iterations) : r < 0 ? r : -EIO;
}

// --- Processes that only wait: the smallest program, reading from one pipe whose other end stays open.
void linux_drop_crowd(struct bench_linux *l) {
  if (l->crowd_in >= 0) close(l->crowd_in);
  for (int i = 0; i < l->crowd_count; i++) waitpid(l->crowd[i], NULL, 0);
  free(l->crowd);
  l->crowd = NULL;
  l->crowd_in = -1;
  l->crowd_count = 0;
}
int bench_linux_crowd(struct bench_linux *l, int count) {
  if (count == l->crowd_count) return 0;
  linux_drop_crowd(l);
  if (count <= 0) return 0;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) return -errno;
  l->crowd_in = ends[1];
  l->crowd = calloc((size_t)count, sizeof *l->crowd);
  int r = l->crowd ? 0 : -ENOMEM;
  for (; l->crowd_count < count && !r; l->crowd_count++)
    if ((r = spawn(l, "f", ends[0], -1, &l->crowd[l->crowd_count]))) break;
  close(ends[0]);
  if (r) linux_drop_crowd(l);
  else usleep(50000);  // until they have gone to sleep
  return r;
}

// What each of a thousand costs the kernel, beside the pages it has itself.
double linux_alive_memory(struct bench_linux *l, uint32_t iterations) {
  (void)iterations;
  enum { COUNT = 1000 };
  linux_drop_crowd(l);
  double before = bench_memory_in_use(true);
  int r = bench_linux_crowd(l, COUNT);
  double after = bench_memory_in_use(true);
  linux_drop_crowd(l);
  // Less than before: other programs have given memory back meanwhile.
  return r ? r : before < 0 ? -EOPNOTSUPP : after <= before ? -EBUSY : (after - before) / COUNT;
}

void linux_drop_image(struct bench_linux *l) {
  if (l->forker) {
    close(l->forker_in);
    close(l->forker_out);
    kill(l->forker, SIGKILL);
    waitpid(l->forker, NULL, 0);
  }
  if (l->image >= 0) close(l->image);
}
