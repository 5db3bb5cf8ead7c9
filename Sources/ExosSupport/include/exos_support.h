// Instructions that Swift cannot be made to emit.
#ifndef EXOS_SUPPORT_H
#define EXOS_SUPPORT_H
#include <stdint.h>

// One way of touching memory: `run` reads or writes `offset` bytes from the address it gets.
struct exos_touch {
  void (*_Nonnull run)(uint64_t address);
  const char *_Nonnull name;
  int64_t offset;
  uint32_t features;  // EXO_FEATURE_* that it needs
  uint32_t is_write;
};
extern const struct exos_touch exos_touches[];
extern const uint32_t exos_touch_count;
static inline struct exos_touch exos_touch_at(uint32_t index) { return exos_touches[index]; }

// Holds a pattern in all registers for so many turns of a loop; how many came back changed.
uint64_t exos_hold_registers(uint64_t seed, uint64_t turns, uint64_t features);
#endif
