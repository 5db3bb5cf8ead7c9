#include "bench_work.h"

// As anyone writes it: the inner loop runs along memory.
#define MULTIPLY(type, name)                                                                              \
  void name(const type *a, const type *b, type *c, int size) {                                            \
    for (int i = 0; i < size; i++) {                                                                      \
      type *row = c + i * size;                                                                           \
      for (int j = 0; j < size; j++) row[j] = 0;                                                          \
      for (int k = 0; k < size; k++)                                                                      \
        for (int j = 0; j < size; j++) row[j] += a[i * size + k] * b[k * size + j];                       \
    }                                                                                                     \
  }
MULTIPLY(int32_t, bench_multiply_int)
MULTIPLY(double, bench_multiply_double)

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
