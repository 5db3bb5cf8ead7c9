// The rest of what the Embedded Swift runtime calls by its C name.
#include "guest_runtime.h"

int posix_memalign(void **out, size_t alignment, size_t size) {
  void *address = exo_guest_allocate(alignment, size);
  *out = address;
  return address ? 0 : EXO_ENOMEM;
}

void free(void *address) {
  if (address) exo_guest_free(address);
}

int putchar(int character) {
  exo_guest_put((unsigned char)character);
  return (unsigned char)character;
}

// Seeds hash tables against accidental patterns; it is no source of secrets.
void arc4random_buf(void *out, size_t count) {
  static uint64_t state;
  unsigned char *bytes = out;
  for (size_t at = 0; at < count; at++) {
    uint64_t mixed = state += exo_ticks() * 2 + 0x9e3779b97f4a7c15ull;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ull;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebull;
    bytes[at] = (unsigned char)(mixed >> 56);
  }
}

// Beyond 2^52 every double is whole, and adding then subtracting 2^52 rounds those below (to even).
static double whole(double value) {
  double magic = value < 0 ? -0x1p52 : 0x1p52;
  return __builtin_fabs(value) < 0x1p52 ? (value + magic) - magic : value;
}

double ceil(double value) {
  double near = whole(value);
  return __builtin_copysign(near < value ? near + 1 : near, value);
}

// Halves go away from zero.
double round(double value) {
  double near = whole(value), off = value - near;
  if (off == 0.5 && value > 0) near += 1;
  if (off == -0.5 && value < 0) near -= 1;
  return __builtin_copysign(near, value);
}

double sqrt(double value) {
  double root;
  __asm__("sqrtsd %1, %0" : "=x"(root) : "x"(value));
  return root;
}

uintptr_t __stack_chk_guard = 0x00a5c3e17d0b96ff;
_Noreturn void __stack_chk_fail(void) { exo_trap(); }
