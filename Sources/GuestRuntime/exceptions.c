// The stacks exceptions arrive on. Nothing guards their ends: 16 KiB is what a handler has.
#include "guest_runtime.h"

static _Alignas(EXO_PAGE_SIZE) unsigned char stacks[3][EXO_EXCEPTION_STACK_SIZE];

extern const uint64_t exo_exception_entries[EXO_VECTOR_COUNT];

uint64_t exo_exception_stack_top(uint32_t index) { return (uint64_t)stacks[index] + EXO_EXCEPTION_STACK_SIZE; }

uint64_t exo_exception_entry(uint32_t vector) {
  return vector < EXO_VECTOR_COUNT ? exo_exception_entries[vector] : 0;
}
