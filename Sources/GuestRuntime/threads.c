// What switching threads needs beside the switch itself.
#include "guest_runtime.h"

extern const char exo_thread_preempted[];
extern uint32_t exo_thread_components;

void exo_thread_save(uint64_t features) {
  if (features & EXO_FEATURE_AVX512) exo_thread_components = 0xe7;
  else if (features & EXO_FEATURE_AVX) exo_thread_components = 7;
}

_Bool exo_thread_divert(struct exo_exception_frame *frame) {
  if (frame->rip == (uint64_t)exo_thread_preempted) return 0;
  uint64_t stack = frame->rsp - 128 - 8;
  *(volatile uint64_t *)stack = frame->rip;
  frame->rsp = stack;
  frame->rip = (uint64_t)exo_thread_preempted;
  return 1;
}

uint64_t exo_thread_end_address(void) { return (uint64_t)exo_guest_thread_end; }

uint64_t exo_stack_pointer(void) { return (uint64_t)__builtin_frame_address(0); }
