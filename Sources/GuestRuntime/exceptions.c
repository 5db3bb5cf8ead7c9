// The stacks exceptions arrive on. Nothing guards their ends: 16 KiB is what a handler has.
#include "guest_runtime.h"

static _Alignas(EXO_PAGE_SIZE) unsigned char stacks[4][EXO_EXCEPTION_STACK_SIZE];

extern const uint64_t exo_exception_entries[EXO_VECTOR_COUNT];

uint64_t exo_exception_stack_top(uint32_t index) { return (uint64_t)stacks[index] + EXO_EXCEPTION_STACK_SIZE; }

extern const char exo_exception_entry_32[];
uint64_t exo_event_control, exo_event_page, exo_event_doorbell;
uint64_t exo_event_entry(const struct exo_start *start) {
  exo_event_control = start->control;
  exo_event_page = start->events;
  exo_event_doorbell = start->doorbell;
  return (uint64_t)exo_exception_entry_32;
}

extern const char exo_exception_entry_14_direct[];
uint64_t exo_page_fault_entry_without_address(void) { return (uint64_t)exo_exception_entry_14_direct; }

uint64_t exo_exception_entry(uint32_t vector) {
  return vector < EXO_VECTOR_COUNT ? exo_exception_entries[vector] : 0;
}

uint64_t exo_fs_base(void) {
  uint64_t base;
  __asm__ volatile("rdfsbase %0" : "=r"(base));
  return base;
}
uint64_t exo_gs_base(void) {
  uint64_t base;
  __asm__ volatile("rdgsbase %0" : "=r"(base));
  return base;
}
