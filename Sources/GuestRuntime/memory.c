// The block operations the compiler calls by name. Large blocks go to the string instructions, which are at
// their best from a few hundred bytes on; below, overlapping word moves avoid their start-up cost.
#include <stddef.h>
#include <stdint.h>

typedef uint64_t word __attribute__((may_alias, aligned(1)));
typedef uint32_t half __attribute__((may_alias, aligned(1)));
typedef uint16_t quarter __attribute__((may_alias, aligned(1)));
typedef long long pair __attribute__((vector_size(16), may_alias, aligned(1)));

enum { string_instruction_from = 256 };

// Every load comes before every store, so these also serve overlapping blocks.
static inline void move_small(unsigned char *to, const unsigned char *from, size_t count) {
  if (count >= 16) {
    pair first = *(const pair *)from, last = *(const pair *)(from + count - 16);
    *(pair *)to = first;
    *(pair *)(to + count - 16) = last;
  } else if (count >= 8) {
    uint64_t first = *(const word *)from, last = *(const word *)(from + count - 8);
    *(word *)to = first;
    *(word *)(to + count - 8) = last;
  } else if (count >= 4) {
    uint32_t first = *(const half *)from, last = *(const half *)(from + count - 4);
    *(half *)to = first;
    *(half *)(to + count - 4) = last;
  } else if (count >= 2) {
    uint16_t first = *(const quarter *)from, last = *(const quarter *)(from + count - 2);
    *(quarter *)to = first;
    *(quarter *)(to + count - 2) = last;
  } else if (count == 1) {
    *to = *from;
  }
}

void *memcpy(void *restrict to, const void *restrict from, size_t count) {
  unsigned char *out = to;
  const unsigned char *in = from;
  if (count <= 32) {
    move_small(out, in, count);
  } else if (count < string_instruction_from) {
    pair last = *(const pair *)(in + count - 16);
    for (size_t at = 0; at + 16 < count; at += 16) *(pair *)(out + at) = *(const pair *)(in + at);
    *(pair *)(out + count - 16) = last;
  } else {
    __asm__ volatile("rep movsb" : "+D"(out), "+S"(in), "+c"(count)::"memory");
  }
  return to;
}

void *memmove(void *to, const void *from, size_t count) {
  unsigned char *out = to;
  const unsigned char *in = from;
  if (count <= 32) {
    move_small(out, in, count);
  } else if ((uintptr_t)out - (uintptr_t)in >= count) {
    // Forwards is safe where the destination starts before the source or beyond its end.
    if (count < string_instruction_from) {
      pair last = *(const pair *)(in + count - 16);
      for (size_t at = 0; at + 16 < count; at += 16) *(pair *)(out + at) = *(const pair *)(in + at);
      *(pair *)(out + count - 16) = last;
    } else {
      __asm__ volatile("rep movsb" : "+D"(out), "+S"(in), "+c"(count)::"memory");
    }
  } else {
    // Backwards by 16 bytes: the string instructions are slow with the direction flag set.
    pair first = *(const pair *)in;
    size_t at = count;
    for (; at > 16; at -= 16) *(pair *)(out + at - 16) = *(const pair *)(in + at - 16);
    *(pair *)out = first;
  }
  return to;
}

void *memset(void *to, int value, size_t count) {
  unsigned char *out = to;
  uint64_t pattern = 0x0101010101010101ull * (unsigned char)value;
  if (count >= string_instruction_from) {
    __asm__ volatile("rep stosb" : "+D"(out), "+c"(count) : "a"(value) : "memory");
  } else if (count >= 8) {
    for (size_t at = 0; at + 8 < count; at += 8) *(word *)(out + at) = pattern;
    *(word *)(out + count - 8) = pattern;
  } else if (count >= 4) {
    *(half *)out = (uint32_t)pattern;
    *(half *)(out + count - 4) = (uint32_t)pattern;
  } else {
    for (size_t at = 0; at < count; at++) out[at] = (unsigned char)value;
  }
  return to;
}

int memcmp(const void *left, const void *right, size_t count) {
  const unsigned char *a = left, *b = right;
  size_t at = 0;
  for (; at + 8 <= count; at += 8) {
    uint64_t x = *(const word *)(a + at), y = *(const word *)(b + at);
    // The first byte that differs is the most significant one after a swap to big-endian.
    if (x != y) return __builtin_bswap64(x) < __builtin_bswap64(y) ? -1 : 1;
  }
  for (; at < count; at++)
    if (a[at] != b[at]) return a[at] < b[at] ? -1 : 1;
  return 0;
}

size_t strlen(const char *string) {
  size_t length = 0;
  while (string[length]) length++;
  return length;
}
