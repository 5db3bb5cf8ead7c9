#include "bench_work.h"

uint32_t bench_digest(uint32_t *words, int count) {
  uint32_t value = 1, sum = 0;
  for (int i = 0; i < count; i++) words[i] = value = value * 1664525u + 1013904223u;
  for (int round = 0; round < 4; round++)
    for (int i = 0; i < count; i++) sum = (sum << 5 | sum >> 27) ^ words[i];
  return sum | 1;
}

uint32_t bench_ponder(uint32_t turns) {
  uint32_t value = turns;
  for (uint32_t i = 0; i < turns; i++) {
    value = value * 1664525u + 1013904223u;
    __asm__ volatile("" : "+r"(value));  // the loop is done turn by turn
  }
  return value;
}
