// What Embedded Swift cannot say for itself, and the hooks between the start-up code and a LibOS.
#ifndef GUEST_RUNTIME_H
#define GUEST_RUNTIME_H
#include "exo_abi.h"

// A LibOS gives these two. The first is called before main with the page the exokernel passed at entry, the
// second with main's result.
void exo_guest_begin(const struct exo_start *_Nonnull start);
_Noreturn void exo_guest_end(int status);

// A LibOS gives these too: the C library's allocation and output entry points end in them.
void *_Nullable exo_guest_allocate(size_t alignment, size_t size);
void exo_guest_free(void *_Nonnull address);
void exo_guest_put(unsigned char byte);

// Memory that must be there before there is a heap: the ring's table of answers, text not
// yet written out, the heap's own lists.
#define EXO_RING_ANSWERS_SIZE 4096
#define EXO_OUTPUT_BUFFER_SIZE 4096
#define EXO_HEAP_BOOK_SIZE 4096
void *_Nonnull exo_ring_answers(void);
void *_Nonnull exo_output_buffer(void);
void *_Nonnull exo_heap_book(void);

static inline void exo_pause(void) { __builtin_ia32_pause(); }
static inline uint64_t exo_ticks(void) { return __builtin_ia32_rdtsc(); }

// The doorbell page takes 4-byte stores only: volatile keeps each a single one, in order.
static inline void exo_ring_doorbell(uint64_t page, uint32_t offset, uint32_t value) {
  *(volatile uint32_t *)(page + offset) = value;
}

// The instruction that every Swift trap ends in: the exokernel reports it with the registers.
static inline _Noreturn void exo_trap(void) { __builtin_trap(); }
#endif
