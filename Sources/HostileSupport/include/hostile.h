// What the hostile guest cannot say in Swift: a net under code that faults, odd instructions one by one, and the
// programs it runs in children, which have this text and a stack but no data.
#ifndef HOSTILE_H
#define HOSTILE_H
#include "exo_abi.h"

// --- the net (catch.S)

// What the processor said of the exception caught last; `address` is CR2 of a page fault, else 0.
struct hostile_fault {
  uint64_t vector, address, error, rip, cs, rflags, rsp, ss;
};
const struct hostile_fault *_Nonnull hostile_last_fault(void);

// Runs code until it returns (0) or raises an exception whose vector is bound to its entry here (1): then all it did
// to registers and stack is forgotten. Not reentrant.
uint64_t hostile_attempt(void (*_Nonnull code)(uint64_t), uint64_t argument);

// Where exception_bind sends a vector so that `hostile_attempt` catches it; 0 for one that cannot be bound.
uint64_t hostile_catcher(uint32_t vector);
// Stacks for the three classes of vectors: the address of their top. `class` is an EXO_IST_* number.
uint64_t hostile_stack_top(uint32_t slot);

// The guest gives this: an exception outside an attempt.
_Noreturn void hostile_unexpected(void);

// Handlers of other kinds, by address: one that needs no stack of its own and gives `hostile_small_fault` the address it
// faulted on; one that faults; another for breakpoints.
uint64_t hostile_small_handler(void);
uint64_t hostile_small_fault(uint64_t address);
uint64_t hostile_faulting_handler(void);
uint64_t hostile_second_breakpoint(void);
void hostile_breakpoint(uint64_t unused);
// A handler of events, which counts them, and how many there were. Waits until their count is not the second word at
// the argument's address, with the first one's flags, or gives up after a while.
uint64_t hostile_event_handler(void);
uint64_t hostile_events_seen(void);
void hostile_await_event(uint64_t words);

// Memory that others write meanwhile.
static inline uint64_t hostile_read(uint64_t address) { return *(volatile uint64_t *)address; }
static inline void hostile_write(uint64_t address, uint64_t value) { *(volatile uint64_t *)address = value; }
static inline void hostile_write32(uint64_t address, uint32_t value) { *(volatile uint32_t *)address = value; }
static inline uint32_t hostile_read32(uint64_t address) { return *(volatile uint32_t *)address; }
static inline void hostile_yield(uint64_t environment) {
  *(volatile uint64_t *)(EXO_KIT_DOORBELL + EXO_DOORBELL_YIELD) = environment;
}
static inline void hostile_pause(void) { __builtin_ia32_pause(); }
static inline void hostile_doorbell(uint32_t offset, uint32_t value) {
  *(volatile uint32_t *)(EXO_KIT_DOORBELL + offset) = value;
}

// --- single accesses, to be attempted
void hostile_load(uint64_t address);
void hostile_store(uint64_t address);
void hostile_call(uint64_t address);

// --- instructions (instructions.c)

#define HOSTILE_MAY_RETURN (1u << 31)
struct hostile_instruction {
  const char *_Nonnull name;
  void (*_Nonnull code)(uint64_t);  // takes the address of scratch memory
  uint32_t allowed;                 // a bit for each vector it may raise, and HOSTILE_MAY_RETURN
};
// Null after the last.
const struct hostile_instruction *_Nullable hostile_privileged(uint32_t index);

// --- flags, segments, ways into other rings (states.S)

// Argument: address of {flags to load, flags found after}.
void hostile_popf(uint64_t words);
// The same flags, then a misaligned load.
void hostile_misaligned(uint64_t words);
// Argument: address of struct hostile_return. Comes back if `rip` is 0 and the processor takes the frame.
struct hostile_return {
  uint64_t rip, cs, rflags, rsp, ss;  // 0 for rip and rsp: here
  uint64_t seen_cs, seen_rflags;
};
void hostile_iret(uint64_t request);
void hostile_iret_nested(uint64_t request);
// Argument: address of the flags.
void hostile_leave_with_flags(uint64_t flags);
void hostile_far_return(uint64_t selector);
void hostile_load_ds(uint64_t selector);
void hostile_load_es(uint64_t selector);
void hostile_load_fs(uint64_t selector);
void hostile_load_gs(uint64_t selector);
void hostile_load_ss(uint64_t selector);
void hostile_restore_segments(uint64_t unused);
// `int n` for each n, then a return.
uint64_t hostile_interrupt(uint32_t number);
// Argument: address of {RAX, RDI, RSI, RDX, R10, RSP}.
void hostile_syscall(uint64_t registers);
void hostile_sysenter(uint64_t registers);
// SYSCALL with a number and flags; what its handler saw (system_calls.S). `others` is 31 if RBX, RBP and R12 to R14 were
// as the caller had them.
struct hostile_system_call {
  uint64_t number, flags;
  uint64_t count, rax, rcx, r11, stack, rsp, after, cs, inside, others;
};
void hostile_make_system_call(uint64_t call);
uint64_t hostile_system_call_handler(void);
// The nucleus entered with flags of the caller's choice (entries.S): by SYSCALL with these registers, by a transfer that leads
// back to `hostile_noting_entry`, which must be bound. `after` are the flags as it came back, `result` RAX, or RSP of a transfer.
struct hostile_way {
  uint64_t flags, rax, rdi, rsi, rdx;
  uint64_t after, result;
};
void hostile_enter_by_system_call(uint64_t entry);
void hostile_enter_by_transfer(uint64_t entry);
void hostile_noting_entry(void);
static inline uint64_t hostile_noting_entry_address(void) { return (uint64_t)hostile_noting_entry; }
// An exception with the flags of such a structure: #DE, #BP, #UD, #GP, #PF at 0x128.
void hostile_raise_divide(uint64_t entry);
void hostile_raise_breakpoint(uint64_t entry);
void hostile_raise_invalid(uint64_t entry);
void hostile_raise_privileged(uint64_t entry);
void hostile_raise_fault(uint64_t entry);
// SYSCALL, #BP or a transfer, by `rdx`, as the instruction after a load of SS.
void hostile_raise_in_shadow(uint64_t entry);
// Model-specific registers: the index, or the address of {index, value}.
void hostile_read_register(uint64_t index);
void hostile_write_register(uint64_t words);
void hostile_write_register_late(uint64_t words);
void hostile_read_register_list(uint64_t words);
void hostile_write_register_list(uint64_t words);
// PKRU (keys.S): read; written; written before an exception, SYSCALL, a transfer or for ever. Those that take a word are to be
// attempted.
uint64_t hostile_read_keys(uint64_t unused);
void hostile_write_keys(uint64_t value);
void hostile_keys_breakpoint(uint64_t value);
void hostile_keys_system_call(uint64_t value);
void hostile_keys_spin(uint64_t value);
// What PKRU is as it comes back, with RAX as given: all ones if RCX or RDX are not as they were sent.
uint64_t hostile_keys_transfer(uint64_t rax, uint32_t keys);
void hostile_keys_entry(void);
static inline uint64_t hostile_keys_entry_address(void) { return (uint64_t)hostile_keys_entry; }
void hostile_write_fs_base(uint64_t base);
void hostile_write_gs_base(uint64_t base);
void hostile_port_read(uint64_t port);
void hostile_port_write(uint64_t port);
// Where 32-bit code begins, each ending in an exception.
enum { HOSTILE_32_INVALID, HOSTILE_32_HALT, HOSTILE_32_LOAD, HOSTILE_32_FAR_JUMP, HOSTILE_32_SPIN, HOSTILE_32_COUNT };
uint64_t hostile_compatibility_code(uint32_t which);

// --- exocalls that take capabilities (children.c)
struct hostile_handle_call {
  uint32_t call, handles;  // a bit for each argument that is a handle
  uint64_t arguments[5];   // good ones for the rest
};
// Null after the last.
const struct hostile_handle_call *_Nullable hostile_handle_call(uint32_t index);

// --- children (children.c, registers.S)

// What [start, end) of the image a child needs: headers, constants, text.
uint64_t hostile_text_start(void);
uint64_t hostile_text_end(void);

// A page that a child shares with its parent.
struct hostile_mailbox {
  volatile uint64_t flag;  // what the program says it has done
  volatile uint64_t words[63];
  uint8_t area[3584];
};

// Programs. RSI carries the argument.
enum hostile_program {
  HOSTILE_EXIT,        // argument: status
  HOSTILE_SPIN,        // for ever, without leaving the processor
  HOSTILE_SLEEP,       // for a completion that never comes
  HOSTILE_TOUCH,       // loads from the argument, then exits with 0
  HOSTILE_STORE,       // stores to the argument, then exits with 0
  HOSTILE_COUNT_UP,    // counts in the word at the argument for ever
  HOSTILE_SECRET,      // argument: mailbox. Fills frames of its own with a secret, says which, and sleeps
  HOSTILE_HANDLES,     // argument: mailbox. Tries handles that are another's in every call
  HOSTILE_RESTORE,     // argument: mailbox. Tries to get more out of a read-only page than it was granted, before and
                       // after it is taken back
  HOSTILE_RING,        // argument: HOSTILE_RING_*
  HOSTILE_DOORBELL,    // argument: HOSTILE_DOORBELL_*
  HOSTILE_FOREST,      // argument: mailbox. Makes children that make children
  HOSTILE_SPARSE,      // argument: mailbox. Spreads one page until its quota is used up
  HOSTILE_DIRTY,       // argument: HOSTILE_END_*. Fills every register, then ends
  HOSTILE_DUMP,        // argument: mailbox. Writes every register there
  HOSTILE_NUCLEUS,     // argument: HOSTILE_NUCLEUS_*. Makes SYSCALL fault in the nucleus, or before it
  HOSTILE_PROGRAMS
};
// Where it begins; 0 for a number that is none.
uint64_t hostile_entry(uint32_t program);
// HOSTILE_NUCLEUS in an environment that has data and handlers.
void hostile_fault_nucleus(const struct exo_start *_Nonnull start, uint64_t how);

enum {
  HOSTILE_RING_JUMP,          // the next number but one
  HOSTILE_RING_LAP,           // a whole ring ahead
  HOSTILE_RING_LAST,          // 2^32 - 1
  HOSTILE_RING_BACK,          // a number used before
  HOSTILE_RING_AHEAD,         // consumed more than was posted
  HOSTILE_RING_UNCONSUMED,    // consumed runs back
  HOSTILE_RING_HUGE,          // consumed half the number space ahead
  HOSTILE_RING_OVERRUN,       // completions never consumed
  HOSTILE_RING_CASES
};
enum {
  HOSTILE_DOORBELL_LOAD1, HOSTILE_DOORBELL_LOAD2, HOSTILE_DOORBELL_LOAD4, HOSTILE_DOORBELL_LOAD8,
  HOSTILE_DOORBELL_STORE1, HOSTILE_DOORBELL_STORE2, HOSTILE_DOORBELL_STORE8,
  HOSTILE_DOORBELL_OFFSET4, HOSTILE_DOORBELL_OFFSET12, HOSTILE_DOORBELL_LAST, HOSTILE_DOORBELL_UNALIGNED,
  HOSTILE_DOORBELL_XCHG, HOSTILE_DOORBELL_XADD, HOSTILE_DOORBELL_CMPXCHG, HOSTILE_DOORBELL_ADD,
  HOSTILE_DOORBELL_SSE, HOSTILE_DOORBELL_AVX, HOSTILE_DOORBELL_STRING_OUT, HOSTILE_DOORBELL_STRING_IN,
  HOSTILE_DOORBELL_PUSH, HOSTILE_DOORBELL_SAVE,
  HOSTILE_DOORBELL_CASES
};
enum {
  HOSTILE_NUCLEUS_NO_TABLE,          // protection where there is no page table
  HOSTILE_NUCLEUS_STACK_OF_RING_0,   // a return to ring 3 with a stack segment of ring 0
  HOSTILE_NUCLEUS_ABSENT_STACK,      // or with an absent one
  HOSTILE_NUCLEUS_WINDOW,            // protection of the window on the tables
  HOSTILE_NUCLEUS_NO_ADDRESS, HOSTILE_NUCLEUS_END,  // of the last page of all, and of the user half
  HOSTILE_NUCLEUS_CASES
};
// How a program that filled its registers ends.
enum {
  HOSTILE_END_EXIT, HOSTILE_END_FAULT, HOSTILE_END_LOAD, HOSTILE_END_WIDE_STORE, HOSTILE_END_LOCKED,
  HOSTILE_END_STRING, HOSTILE_END_SPIN,
  HOSTILE_END_CASES
};

// What HOSTILE_DUMP writes into a mailbox's area.
struct hostile_registers {
  uint64_t general[16];  // RAX RBX RCX RDX RSI RDI RBP RSP R8 ... R15, as at entry
  uint64_t rflags, fs_base, gs_base;
  uint16_t selectors[4];  // DS ES FS GS
  uint64_t mask[8];       // k0 ... k7
  uint64_t padding[4];
  uint8_t fx[512];        // as FXSAVE64 writes it
  uint8_t vector[2048];   // ZMM0 ... ZMM31, or YMM0 ... YMM15 in 64 bytes each
};

_Static_assert(sizeof(struct hostile_mailbox) == EXO_PAGE_SIZE, "a mailbox is a page");
_Static_assert(offsetof(struct hostile_mailbox, area) == 512, "aligned for FXSAVE");
_Static_assert(offsetof(struct hostile_system_call, others) == 88, "system_calls.S");
_Static_assert(offsetof(struct hostile_way, result) == 48, "entries.S");
_Static_assert(offsetof(struct exo_start, features) == 96, "registers.S");
_Static_assert(offsetof(struct hostile_registers, mask) == 160, "registers.S");
_Static_assert(offsetof(struct hostile_registers, fx) == 256, "registers.S");
_Static_assert(offsetof(struct hostile_registers, vector) == 768, "registers.S");
_Static_assert(sizeof(struct hostile_registers) <= 3584, "fits a mailbox");
// Control transfer with any number in RAX; what was in RSP as it came back to the entry, which must be bound.
uint64_t hostile_transfer(uint64_t rax);
void hostile_transfer_entry(void);
static inline uint64_t hostile_transfer_entry_address(void) { return (uint64_t)hostile_transfer_entry; }
void hostile_leave(uint64_t rsp, uint64_t flags, uint64_t rax);
void hostile_leave_stepping(uint64_t rsp, uint64_t flags, uint64_t rax);
void hostile_left(void);
static inline uint64_t hostile_left_address(void) { return (uint64_t)hostile_left; }
uint64_t hostile_flags(void);
#endif
