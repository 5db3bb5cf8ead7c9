// What Embedded Swift cannot say for itself, and the hooks between the start-up code and a LibOS.
#ifndef GUEST_RUNTIME_H
#define GUEST_RUNTIME_H
#include "exo_abi.h"

// A LibOS gives these three. The first is called before main with the page the exokernel passed at entry, the second for
// what main is called with, the third with main's result.
void exo_guest_begin(const struct exo_start *_Nonnull start);
uint64_t exo_guest_arguments(int32_t *_Nonnull count);
_Noreturn void exo_guest_end(int status);

// What a LibOS calls before main and before the end, when what was printed is written: a module that makes processes gives
// these (ExosProcess); without one they do nothing.
void exo_process_begin(void);
void exo_process_end(void);

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

// What an exception handler may read and change: all of it is put back when the handler returns.
struct exo_exception_frame {
  uint16_t x87_control, x87_status, x87_tags, x87_opcode;
  uint64_t x87_instruction, x87_data;
  uint32_t mxcsr, mxcsr_mask;
  uint64_t x87_registers[16], xmm_registers[32], unused[13];
  uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
  uint64_t vector;
  uint64_t address;  // #PF only: what was touched
  uint64_t error_code;
  uint64_t rip, cs, rflags, rsp, ss;
};
_Static_assert(offsetof(struct exo_exception_frame, r15) == 520, "exceptions.S");
_Static_assert(sizeof(struct exo_exception_frame) == 704, "exceptions.S");

// A LibOS that uses the entries of exceptions.S gives this.
void exo_guest_exception(struct exo_exception_frame *_Nonnull frame);

// Entry for events that leads to exo_guest_exception with EXO_EVENT_VECTOR, and takes note of where its pages are.
uint64_t exo_event_entry(const struct exo_start *_Nonnull start);

// Stacks of the three classes of exceptions, in the order page fault, fault, debug; then that of events.
#define EXO_EXCEPTION_STACK_SIZE 16384
uint64_t exo_exception_stack_top(uint32_t index);
// Address of the entry of a vector that leads to exo_guest_exception; zero where none can be bound.
uint64_t exo_exception_entry(uint32_t vector);
// The same for a page fault bound without the address, which is 0 in the frame then.
uint64_t exo_page_fault_entry_without_address(void);
// Where the features say so only (EXO_FEATURE_FSGSBASE).
uint64_t exo_fs_base(void);
uint64_t exo_gs_base(void);

// Threads (threads.S). A LibOS that has any gives these three: the first is called when a thread's turn was taken away, the
// second on a new thread's stack, the third to end a thread from outside.
void exo_guest_thread_preempted(void);
void exo_guest_thread_run(void);
void exo_guest_thread_end(void);
// Which registers are to be saved of an interrupted thread, by EXO_FEATURE_*.
void exo_thread_save(uint64_t features);
void exo_thread_switch(uint64_t *_Nonnull save, uint64_t to);
uint64_t exo_thread_prepare(uint64_t stack_top);
uint64_t exo_thread_prepare_end(uint64_t stack_top);
uint64_t exo_thread_end_address(void);
// Has interrupted code go on by giving its turn away; false if it does already.
_Bool exo_thread_divert(struct exo_exception_frame *_Nonnull frame);
uint64_t exo_stack_pointer(void);

// Forking (fork.S): 0 or a negative error number, and 1 in the child.
int64_t exo_fork(void);
void exo_fork_enter(void);
static inline uint64_t exo_fork_entry_address(void) { return (uint64_t)exo_fork_enter; }
// A LibOS gives these: one makes the child, given the stack pointer to go on from; the other is the first thing it does.
int64_t exo_guest_fork(uint64_t stack);
void exo_guest_forked(const struct exo_start *_Nonnull start);

// Protection keys (keys.S), where EXO_FEATURE_PROTECTION_KEYS is offered and after key_set: PKRU, and what it is to be here.
uint32_t exo_keys_read(void);
void exo_keys_write(uint32_t value);
extern uint32_t exo_keys_value, exo_keys_used;
static inline uint32_t exo_keys_wanted(void) { return exo_keys_value; }
static inline _Bool exo_keys_are_used(void) { return exo_keys_used; }
static inline void exo_keys_use(void) { exo_keys_used = 1; }
void exo_transfer_entry_with_keys(void);

// Control transfer (transfer.S). Six words go each way, and a seventh: what is asked, and the answer's status, negative for an
// error. `gate` is what the exokernel says it was called through.
struct exo_message {
  uint64_t words[6];
  int64_t status;
  uint32_t gate, reserved;
};
_Static_assert(sizeof(struct exo_message) == 64, "transfer.S");
int64_t exo_transfer_call(uint32_t connection, struct exo_message *_Nonnull message);
int64_t exo_transfer_call_trusting(uint32_t connection, struct exo_message *_Nonnull message);
// Where a transfer of its maker's began this environment, goes back there; returns if none did. To forget that is for copies.
void exo_return_to_maker(uint32_t status);
void exo_forget_maker(void);
void exo_child_start(void);
static inline uint64_t exo_child_entry(void) { return (uint64_t)exo_child_start; }
void exo_transfer_entry(void);
// 1 while peers may come in. Whoever takes it (exo_exchange32) has this environment to himself.
extern uint32_t exo_transfer_open, exo_transfer_wide;
extern uint64_t exo_transfer_doorbell, exo_transfer_sequence;
static inline uint64_t exo_transfer_entry_address(void) {
  return exo_keys_used ? (uint64_t)exo_transfer_entry_with_keys : (uint64_t)exo_transfer_entry;
}
static inline uint32_t exo_transfer_set_open(uint32_t open) {
  return __atomic_exchange_n(&exo_transfer_open, open, __ATOMIC_SEQ_CST);
}
static inline void exo_transfer_prepare(const struct exo_start *_Nonnull start) {
  exo_transfer_doorbell = start->doorbell;
  exo_transfer_wide = (start->features & EXO_FEATURE_AVX) != 0;
  exo_transfer_sequence = (uint64_t)start->environment << 32;
}
// A LibOS that binds exo_transfer_entry gives this: it answers in place.
void exo_guest_called(struct exo_message *_Nonnull message);

// Each raises one exception (raise.S). R11 holds the address to go on at.
void exo_raise_divide_error(void);
void exo_raise_debug(void);
void exo_raise_breakpoint(void);
void exo_raise_invalid_opcode(void);
void exo_raise_segment_not_present(void);
void exo_raise_stack_fault(void);
void exo_raise_general_protection(void);
void exo_raise_page_fault(uint64_t address);
void exo_raise_floating_point(void);
void exo_raise_alignment(void);
void exo_raise_simd_floating_point(void);
// Raises #BP with a pattern in every register; returns how many came back changed.
uint32_t exo_raise_and_compare(void);

// Calls of the nucleus, where EXO_FEATURE_NUCLEUS_CALLS is offered (nucleus_calls.S).
uint64_t exo_nucleus_protect(uint64_t address, uint64_t entry, uint64_t new_entry);
uint64_t exo_nucleus_call(int64_t number);

// Where the image's ELF header lies: it tells the segments that the image consists of.
uint64_t exo_image_header(void);

static inline void exo_pause(void) { __builtin_ia32_pause(); }
// The time-stamp counter as the environment's first instruction read it.
extern const uint64_t exo_entry_ticks;
static inline uint64_t exo_ticks(void) { return __builtin_ia32_rdtsc(); }

// The doorbell page takes 4-byte stores only: volatile keeps each a single one, in order.
static inline void exo_ring_doorbell(uint64_t page, uint32_t offset, uint32_t value) {
  *(volatile uint32_t *)(page + offset) = value;
}

// The one store of 8 bytes: whom to yield to.
static inline void exo_ring_doorbell_wide(uint64_t page, uint32_t offset, uint64_t value) {
  *(volatile uint64_t *)(page + offset) = value;
}
static inline void exo_yield(uint64_t page, uint64_t environment) {
  exo_ring_doorbell_wide(page, EXO_DOORBELL_YIELD, environment);
}

// Words that another processor or the exokernel reads or writes at any time.
static inline uint32_t exo_load32(uint64_t address) {
  return __atomic_load_n((const uint32_t *)address, __ATOMIC_SEQ_CST);
}
static inline void exo_store32(uint64_t address, uint32_t value) {
  __atomic_store_n((uint32_t *)address, value, __ATOMIC_SEQ_CST);
}

static inline uint64_t exo_load64(uint64_t address) {
  return __atomic_load_n((const uint64_t *)address, __ATOMIC_SEQ_CST);
}
static inline void exo_store64(uint64_t address, uint64_t value) {
  __atomic_store_n((uint64_t *)address, value, __ATOMIC_SEQ_CST);
}
// For a line with one writer: what it wrote before is seen by whoever sees this.
static inline void exo_release32(uint64_t address, uint32_t value) {
  __atomic_store_n((uint32_t *)address, value, __ATOMIC_RELEASE);
}

// The same value, of which the compiler knows nothing, nor of any memory after it: for what a handler may change.
static inline int64_t exo_opaque(int64_t value) {
  __asm__ volatile("" : "+r"(value) : : "memory");
  return value;
}

// The instruction that every Swift trap ends in: the exokernel reports it with the registers.
static inline _Noreturn void exo_trap(void) { __builtin_trap(); }
#endif
