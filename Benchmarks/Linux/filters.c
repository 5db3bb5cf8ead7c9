// Which of many filters a packet belongs to, the way MPF (Yuhara and others, USENIX Winter 1994) and every packet socket go about
// it: a classic BPF program for each filter, run in turn until one says yes. The interpreter is libpcap's own, loaded while
// this runs; the programs are what libpcap's compiler makes of `ip and dst host 10.0.0.1 and tcp dst port N`.
#include "linux.h"

#include <dlfcn.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef unsigned interpreter(const struct sock_filter *, const unsigned char *, unsigned, unsigned);
enum { PROGRAM = 14, PACKETS = 256, LENGTH = 60 };

static interpreter *load(void) {
  static interpreter *found;
  static const char *const names[] = {"libpcap.so.0.8", "libpcap.so.1"};
  for (size_t i = 0; !found && i < sizeof names / sizeof *names; i++) {
    void *library = dlopen(names[i], RTLD_NOW);
    if (library) found = (interpreter *)dlsym(library, "bpf_filter");
  }
  return found;
}

static void make_program(struct sock_filter *code, uint16_t port) {
  const struct sock_filter program[PROGRAM] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x0800, 0, 11),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 30),        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x0a000001, 0, 9),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 23),        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 6, 0, 7),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 20),        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 5, 0),
      BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 14),       BPF_STMT(BPF_LD | BPF_H | BPF_IND, 16),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 2), BPF_STMT(BPF_RET | BPF_K, 262144),
      BPF_STMT(BPF_RET | BPF_K, 0),                  BPF_STMT(BPF_RET | BPF_K, 0)};
  memcpy(code, program, sizeof program);
}

void linux_make_packet(unsigned char *packet, uint32_t *random, unsigned filters) {
  *random = *random * 1664525u + 1013904223u;
  unsigned port = 1024 + (*random >> 8) % filters;
  memset(packet, 0, LENGTH);
  packet[12] = 8, packet[14] = 0x45, packet[23] = 6;
  packet[30] = 10, packet[33] = 1;
  packet[36] = (unsigned char)(port >> 8), packet[37] = (unsigned char)port;
}

static double demux(uint32_t iterations, unsigned filters) {
  interpreter *run = load();
  if (!run) return -ELIBACC;
  struct sock_filter(*programs)[PROGRAM] = malloc(filters * sizeof *programs);
  unsigned char(*packets)[LENGTH] = malloc(PACKETS * sizeof *packets);
  double result = -ENOMEM;
  if (programs && packets) {
    uint32_t random = 1;
    for (unsigned i = 0; i < filters; i++) make_program(programs[i], (uint16_t)(1024 + i));
    for (unsigned i = 0; i < PACKETS; i++) linux_make_packet(packets[i], &random, filters);
    unsigned matched = 0;
    // What is cold would count where few packets make a sample.
    for (unsigned i = 0; i < filters; i++) run(programs[i], packets[0], LENGTH, LENGTH);
    uint64_t begin = bench_ticks();
    for (uint32_t n = 0; n < iterations; n++)
      for (unsigned i = 0; i < filters; i++)
        if (run(programs[i], packets[n % PACKETS], LENGTH, LENGTH)) {
          matched++;
          break;
        }
    uint64_t ticks = bench_ticks() - begin;
    result = matched == iterations ? linux_each(ticks, iterations) : -EBADMSG;
  }
  free(programs);
  free(packets);
  return result;
}

double linux_demux_1(struct bench_linux *l, uint32_t n) { return (void)l, demux(n, 1); }
double linux_demux_10(struct bench_linux *l, uint32_t n) { return (void)l, demux(n, 10); }
double linux_demux_100(struct bench_linux *l, uint32_t n) { return (void)l, demux(n, 100); }
double linux_demux_1000(struct bench_linux *l, uint32_t n) { return (void)l, demux(n, 1000); }
double linux_demux_10000(struct bench_linux *l, uint32_t n) { return (void)l, demux(n, 10000); }

// Each socket has its own filter, so that how many others there are does not matter.
double linux_filter_insert(struct bench_linux *l, uint32_t iterations) {
  (void)l;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  struct sock_filter code[PROGRAM];
  struct sock_fprog program = {PROGRAM, code};
  int failed = 0;
  uint64_t begin = bench_ticks();
  for (uint32_t n = 0; n < iterations && !failed; n++) {
    make_program(code, (uint16_t)n);
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program)) failed = errno;
  }
  uint64_t ticks = bench_ticks() - begin;
  close(fd);
  return failed ? -failed : linux_each(ticks, iterations);
}
