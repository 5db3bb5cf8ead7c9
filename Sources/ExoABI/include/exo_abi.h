// The contract between the exokernel and its environments: layouts, numbers, errors. Both sides, the
// assembly and the reference page come from this file and exo_calls.h; nothing else is shared.
#ifndef EXO_ABI_H
#define EXO_ABI_H

#define EXO_ABI_VERSION 1
#define EXO_PAGE_SIZE 4096
#define EXO_PAGE_SHIFT 12

// Segment selectors (SUBSTRATE: the layout Linux uses; PVM accepts no other).
#define EXO_NUCLEUS_CS 0x10
#define EXO_NUCLEUS_SS 0x18
#define EXO_USER_SS 0x2b
#define EXO_USER_CS 0x33
#define EXO_TSS_SELECTOR 0x40
#define EXO_ABSENT_SELECTOR 0x53  // a not-present data segment: the one way to raise #NP at ring 3

// The nucleus, at the same linear address in every address space, supervisor and never writable there.
// In the topmost 2 GiB, so that a stub names an address in 32 bits.
#define EXO_NUCLEUS_BASE 0xffffffff80000000
#define EXO_NUCLEUS_TEXT (EXO_NUCLEUS_BASE + 0x0000)  // stubs, one frame for the whole machine
#define EXO_NUCLEUS_DATA (EXO_NUCLEUS_BASE + 0x1000)  // per environment: GDT, TSS, return frames
#define EXO_NUCLEUS_IDT (EXO_NUCLEUS_BASE + 0x2000)   // per environment
#define EXO_NUCLEUS_TRANSFER (EXO_NUCLEUS_BASE + 0x4000)  // per environment: where its connections lead
#define EXO_NUCLEUS_GDT_OFFSET 0x000
#define EXO_NUCLEUS_TSS_OFFSET 0x100
#define EXO_NUCLEUS_RETURN_OFFSET 0x200  // five-word iretq frame of the #PF-with-address gate
#define EXO_NUCLEUS_STUB_SIZE 16         // default exception stubs: vector = (rip - text) / 16
#define EXO_NUCLEUS_PF_ADDRESS_STUB 0x200
#define EXO_NUCLEUS_NO_ENTRY_STUB 0x230  // where nothing may ever enter ring 0: compatibility-mode SYSCALL, SYSENTER
#define EXO_NUCLEUS_SYSCALL_STUB 0x240
#define EXO_NUCLEUS_SYSCALL_SIZE 0xc0
#define EXO_NUCLEUS_PROBE_STUB 0x300
#define EXO_NUCLEUS_TRANSFER_STUB 0x340
#define EXO_NUCLEUS_TRANSFER_KEYS_SIZE 15  // what comes before it once protection keys are on
#define EXO_NUCLEUS_TRANSFER_KEYS_STUB (EXO_NUCLEUS_TRANSFER_STUB - EXO_NUCLEUS_TRANSFER_KEYS_SIZE)
#define EXO_NUCLEUS_TRANSFER_ALONE_STUB 0x360  // for an environment with one connection
#define EXO_NUCLEUS_PORT 0xe0  // `out` to it from ring 0 ends the environment or reports a probe
#define EXO_VECTOR_COUNT 32

// Where ring 0 runs on the processor there are three things more. The trap page is mapped once more behind the gates, so
// that the five words by which SYSCALL is sent on to ring 3 lie side by side: RIP, CS and RFLAGS at the end of the gates'
// page, which no environment can write, RSP and SS, which are its own anyway, at the start of the trap page. The
// nucleus, not ring 3, has the page tables in a window where they can be written. And the stacks of its own gates are the
// trap page as a supervisor's: a protection key, which binds ring 0 on user pages too, cannot keep them from being pushed to.
#define EXO_NUCLEUS_SCRATCH (EXO_NUCLEUS_BASE + 0x3000)
#define EXO_NUCLEUS_UPCALL_OFFSET 0xfe8  // within the gates' page
#define EXO_NUCLEUS_TABLES 0xffff808000000000
#define EXO_NUCLEUS_TABLES_SLOT 257  // of the root table
#define EXO_NUCLEUS_STACKS (EXO_NUCLEUS_BASE + 0x5000)

// Calls of the nucleus by SYSCALL, in RAX, where EXO_FEATURE_NUCLEUS_CALLS is offered. RCX, R8, R9, R11, RSI and RDI are
// lost. Any number from 0 on is not the nucleus's: it goes to the handler bound by system_call_bind.
#define EXO_NUCLEUS_CALL_PROTECT (-1)  // RDI address, RSI its entry, RDX the new one; RAX what was there, 0 if refused
#define EXO_NUCLEUS_CALL_NULL (-2)     // RAX becomes 0

// The user half, less its last page: after an instruction there no address may follow, and SYSCALL would have SYSRETQ go to it.
// An environment may map frames anywhere below except over the kit.
#define EXO_USER_LIMIT 0x00007ffffffff000
#define EXO_USER_FLOOR 0x10000  // below: never mapped, so that null pointers fault
#define EXO_KIT_BASE 0x00007fffff000000
#define EXO_KIT_START (EXO_KIT_BASE + 0x0000)       // read-only: struct exo_start, struct exo_status
#define EXO_KIT_MACHINE (EXO_KIT_BASE + 0x1000)     // read-only, one frame for all: struct exo_machine
#define EXO_KIT_SUBMISSION (EXO_KIT_BASE + 0x2000)  // written by the environment
#define EXO_KIT_COMPLETION (EXO_KIT_BASE + 0x3000)  // read-only, written by the exokernel
#define EXO_KIT_TRAP (EXO_KIT_BASE + 0x4000)        // stacks of the nucleus's own gates, pinned
#define EXO_KIT_DOORBELL (EXO_KIT_BASE + 0x5000)    // device page, see EXO_DOORBELL_*
#define EXO_KIT_FRAMES (EXO_KIT_BASE + 0x6000)      // read-only: struct exo_frame_list
#define EXO_KIT_EVENTS (EXO_KIT_BASE + 0x7000)      // read-only: struct exo_events
#define EXO_KIT_LINES (EXO_KIT_BASE + 0x60000)      // the shared page of each connection, by its number
#define EXO_KIT_ARGUMENTS (EXO_KIT_BASE + 0x10000)  // read-only argument and environment strings
#define EXO_KIT_ARGUMENT_PAGES 64
#define EXO_KIT_END (EXO_KIT_BASE + 0x100000)

// One's own page table, read-only: the entry of user page `a` is the word at EXO_KIT_TABLES + (a >> 12) * 8, where
// the hardware keeps its accessed and dirty bits up to date. The word of an address under no table at all is not
// mapped: look at the levels above first (EXO_KIT_TABLES_LEVEL(n), n = 1, 2, 3; entry a >> (12 + 9 n)).
#define EXO_KIT_TABLES 0x00007f0000000000
#define EXO_KIT_TABLES_END 0x00007f8000000000
#define EXO_KIT_TABLES_SLOT 254  // of the root table: it links to the root itself
#define EXO_KIT_TABLES_LEVEL1 0x00007f3f80000000
#define EXO_KIT_TABLES_LEVEL2 0x00007f3f9fc00000
#define EXO_KIT_TABLES_LEVEL3 0x00007f3f9fcfe000
#define EXO_STATUS_OFFSET 0x800  // struct exo_status within the start page
#define EXO_REVOCATION_OFFSET 0x840   // struct exo_revocation within the start page
#define EXO_REPOSSESSED_OFFSET 0xe00  // the repossession vector within the start page
#define EXO_REPOSSESSED_CAPACITY 32
#define EXO_PEERS_OFFSET 0xc00   // struct exo_peer for each connection, within the start page
#define EXO_PEER_GATES_OFFSET 0xb00  // for each connection the number of the gate it leads through, a 32-bit word
#define EXO_STACK_TOP (EXO_KIT_BASE - 0x100000)
#define EXO_STACK_PAGES 64

// Interrupt stack table slots. 1, 2 and 7 are the nucleus's; an environment binds the others by class.
#define EXO_IST_NUCLEUS 1
#define EXO_IST_DOUBLE_FAULT 2
#define EXO_IST_PAGE_FAULT 3
#define EXO_IST_FAULT 4
#define EXO_IST_DEBUG 5
#define EXO_IST_EVENT 6
#define EXO_IST_TRANSFER 7
#define EXO_CONTROL_OFFSET 16  // struct exo_control within the trap page, below the nucleus's stack
#define EXO_TRAP_NUCLEUS_TOP 0x800
#define EXO_TRAP_DOUBLE_FAULT_TOP 0x1000
#define EXO_EXCEPTION_PUSH 64  // most a delivery stores below a stack's top: frame, error code, address

// Rights, of capabilities and mappings.
#define EXO_READ 1
#define EXO_WRITE 2
#define EXO_EXECUTE 4

#define EXO_MAP_HUGE 0x100  // with a mapping's rights: whole 2 MiB pages, address and frames on 2 MiB boundaries

// Page-table entries: software bits. Granted rights stay in the entry, so that lowering and restoring
// protection needs no second authority check.
#define EXO_PTE_GRANTED_READ (1ull << 9)
#define EXO_PTE_GRANTED_WRITE (1ull << 10)
#define EXO_PTE_GRANTED_EXECUTE (1ull << 11)
#define EXO_PTE_PINNED (1ull << 52)

// Protection keys, where EXO_FEATURE_PROTECTION_KEYS is offered. A page has one of 16 (key_set), and the register PKRU (RDPKRU,
// WRPKRU; #UD before the machine's first key_set) two bits for each: 2k forbids loads and stores of data, 2k + 1 stores. A key can
// only take away. PKRU is 0, which forbids nothing, at an environment's entry and after every control transfer, whoever comes in.
// What the exokernel does for an environment is not bound by it. A #PF for a key has EXO_FAULT_KEY in its error code.
#define EXO_KEYS 16
#define EXO_PTE_KEY_SHIFT 59
#define EXO_FAULT_KEY 0x20

// The doorbell page. Every other access to it is misuse.
#define EXO_DOORBELL_WAKE 0    // 4-byte store: wakes a sleeping service thread without leaving the kernel
#define EXO_DOORBELL_SERVE 8   // 4-byte store: leaves the guest; its own processor serves the ring
#define EXO_DOORBELL_WAIT 16   // 4-byte store of a completion number: sleep until it, or an event, has been posted
#define EXO_DOORBELL_DECLINE 20  // 4-byte store: this virtual processor came by a transfer; it goes back to its owner
#define EXO_DOORBELL_YIELD 24  // 8-byte store: end the slice; to the environment of this capability, or 0
#define EXO_DOORBELL_EXIT 32   // 4-byte store of a status: the call `exit`, without anybody having to serve it

// Events. Bits of event_bind's set and values of exo_event.kind.
#define EXO_EVENT_SLICE_END 0    // value: nanoseconds of grace
#define EXO_EVENT_REVOCATION 1   // data: kind of resource; value: how much is asked back
#define EXO_EVENT_CHILD_ENDED 2  // data: its number
#define EXO_EVENT_MESSAGE 3      // data: the poster's number; value: what it said
#define EXO_EVENT_TIMER 4        // value: the time that was set
#define EXO_EVENT_GATE 5         // data: number of a connection; value: EXO_GATE_*
#define EXO_EVENT_PACKETS 6      // data: number of a packet ring whose `notify` was not 0, and is now
#define EXO_EVENT_VECTOR 32  // what a LibOS's common entry may call it; no gate of the processor has it
#define EXO_EVENT_KINDS 7
#define EXO_EVENT_CAPACITY 126
#define EXO_EVENT_RING_OFFSET 64

#define EXO_PROCESSOR_OWN 0xffff  // in environment_create: the one that this environment is on

// Control transfer. `int $4` at ring 3 with a connection's number * 8 in RAX (of one's only connection: with whatever is in RAX) goes
// to the peer's address space, on the same processor: to where the peer's own last `int $4` left, with the flags, SS and RSP that it had there (SS may be null behind a
// direct gate: whoever leaves so cannot be entered), or to its protected entry context if there was none since that was bound. General registers other than RAX and RSP are the message, vector registers and
// MXCSR too: who does not mean to send them clears them. RAX holds what only the exokernel can have put there: the receiver's
// own root table | number of the connection at this end << EXO_TRANSFER_NUMBER_SHIFT | EXO_TRANSFER_*. PKRU is 0.
//
// environment_ready makes such a connection to a child that has not been started. A transfer begins it at an entry, with a stack; it
// ends by one back. It is on its maker's virtual processor then, and started for good, the connection closed, where
// `hands_over` says so (struct exo_control). Made ready again, it is as it was: what nobody else has mapped of the pages that it wrote to is
// zeroed, its kit is new. EBUSY says that something lasts: it has made an exocall other than null, clock, console_write, event_post,
// capability_inspect, capability_next and environment_inspect, or been sent events.
#define EXO_TRANSFER_INSTRUCTION_VECTOR 4
#define EXO_CONNECTIONS 64          // of one environment
#define EXO_TRANSFER_SLOT_SIZE 8    // what RAX and CR3 become: the processor takes no notice of the bits between kind and number
#define EXO_TRANSFER_ALONE_OFFSET (EXO_CONNECTIONS * EXO_TRANSFER_SLOT_SIZE)  // the slot of the only connection, again
#define EXO_TRANSFER_FRAME_TOP 0x400  // within the transfer page: below it, the frame that an environment is entered by
#define EXO_TRANSFER_FRAME_SIZE 40
#define EXO_TRANSFER_NUMBER_SHIFT 5
#define EXO_TRANSFER_KIND_MASK 7
#define EXO_TRANSFER_CALLED 0      // by the peer that connected to a gate of this environment
#define EXO_TRANSFER_RETURNED 1    // by the environment whose gate this one connected to
#define EXO_TRANSFER_REFUSED 2     // one's own transfer: no such connection, or its peer has ended, or is stopped
#define EXO_TRANSFER_ENDED 3       // the environment that the virtual processor was in has ended, or sent it back
#define EXO_TRANSFER_TIMED_OUT 4   // see gate_deadline
#define EXO_TRANSFER_STOPPED 5     // this environment, or the one that it called, was stopped within the call
// 3, 4 and 5 come to the protected entry context, with EXO_TRANSFER_* << 40 in RSP. Who is told them takes RSP for a stack of its
// own and rings EXO_DOORBELL_SERVE: until then no answer is let in.
#define EXO_TRANSFER_TOLD_SHIFT 40

// EXO_EVENT_GATE. A new connection also tells which gate it leads to (<< 8), and whether a transfer goes there.
#define EXO_GATE_LOCAL 0x80
#define EXO_GATE_CONNECTED 0
#define EXO_GATE_SIGNALLED 1
#define EXO_GATE_CLOSED 2

// exo_peer.state
#define EXO_PEER_NONE 0
#define EXO_PEER_RUNNABLE 1
#define EXO_PEER_ASLEEP 2  // it waits for an event: see gate_signal
#define EXO_PEER_CLOSED 3  // it has ended, or has taken the gate back

// Who serves the ring now (exo_status.service), written by the exokernel only.
#define EXO_SERVICE_POLLED 0  // a service thread is polling: nothing to do after a submission
#define EXO_SERVICE_ASLEEP 1  // ring EXO_DOORBELL_WAKE after a submission
#define EXO_SERVICE_EXIT 2    // no core to poll on: ring EXO_DOORBELL_SERVE after a submission

#define EXO_RING_CAPACITY 64  // entries of 64 bytes: one page each way

// Errors: a completion's result is negative. Numbers are Linux's, to be read with the same table.
#define EXO_EPERM 1
#define EXO_ENOENT 2
#define EXO_EIO 5
#define EXO_EBADF 9
#define EXO_EAGAIN 11
#define EXO_ENOMEM 12
#define EXO_EFAULT 14
#define EXO_EBUSY 16
#define EXO_EEXIST 17
#define EXO_EXDEV 18
#define EXO_EINVAL 22
#define EXO_ENOSPC 28
#define EXO_EPIPE 32
#define EXO_ERANGE 34
#define EXO_ENOSYS 38
#define EXO_EOPNOTSUPP 95  // not with this processor, or this kind of machine
#define EXO_ETIMEDOUT 110
#define EXO_ESTALE 116
#define EXO_EDQUOT 122

#define EXO_FRAME_ANY 0xffffffffffffffff  // frame_allocate: any frame will do
#define EXO_EXCEPTION_WITH_ADDRESS 1      // exception_bind, #PF only: deliver CR2 below the error code

// environment_inspect
#define EXO_STATE_CREATED 0
#define EXO_STATE_RUNNABLE 1
#define EXO_STATE_WAITING 2
#define EXO_STATE_STOPPED 3
#define EXO_STATE_ENDED 4

// environment_wait
#define EXO_ENDED_EXITED 0       // value: status
#define EXO_ENDED_FAULTED 1      // values: vector, address touched
#define EXO_ENDED_MISUSED 2
#define EXO_ENDED_TIME_LIMIT 3
#define EXO_ENDED_KILLED 4       // value: status given by whoever ended it
#define EXO_ENDED_HOST_FAILURE 5

// Kinds of capability, as capability_inspect tells them, and rights beyond EXO_READ, EXO_WRITE and EXO_EXECUTE.
#define EXO_KIND_FRAMES 1
#define EXO_KIND_ADDRESS_SPACE 2
#define EXO_KIND_ENVIRONMENT 3
#define EXO_KIND_GATE 4
#define EXO_KIND_EVENT 5
#define EXO_KIND_SLICES 6
#define EXO_KIND_FILTER 7
#define EXO_KIND_EXTENT 8
#define EXO_KIND_REGION 9
#define EXO_KIND_TRANSMIT 10
#define EXO_RIGHT_GRANT 8
#define EXO_RIGHT_CONTROL 16
#define EXO_RIGHT_INSPECT 32
#define EXO_RIGHT_CALL 64
#define EXO_RIGHT_SIGNAL 128
#define EXO_RIGHT_DELIVER 256

// page_vector
#define EXO_VECTOR_MAP 0
#define EXO_VECTOR_UNMAP 1
#define EXO_VECTOR_PROTECT 2
#define EXO_VECTOR_LIMIT 128

// region_access
#define EXO_REGION_READ 0
#define EXO_REGION_WRITE 1

// A region's rule: up to EXO_RULE_LIMIT instructions of 8 bytes (operation, destination, a, b, signed immediate of 4
// bytes, little-endian) over registers 0 to 7. Jumps lead forward only, the last instruction is a result; 0 forbids.
// Inputs: 0 operation, 1 offset, 2 length, 3 caller, 4 maker, 5 the first 8 bytes a write would leave at the offset.
#define EXO_RULE_LIMIT 64
#define EXO_RULE_CONSTANT 0       // destination = immediate
#define EXO_RULE_INPUT 1          // destination = input number a
#define EXO_RULE_WORD 2           // destination = word at byte register[a] + immediate; outside the region: forbids
#define EXO_RULE_ADD 3            // destination = register[a] operation register[b], and so on
#define EXO_RULE_SUBTRACT 4
#define EXO_RULE_AND 5
#define EXO_RULE_OR 6
#define EXO_RULE_XOR 7
#define EXO_RULE_SHIFT_LEFT 8
#define EXO_RULE_SHIFT_RIGHT 9
#define EXO_RULE_EQUAL 10         // 1 if so, else 0; unsigned
#define EXO_RULE_LESS 11
#define EXO_RULE_SKIP_IF_ZERO 12  // skip immediate instructions if register[a] is 0
#define EXO_RULE_RESULT 13        // ends with register[a]

// Packets. A filter is up to EXO_FILTER_STEPS steps, all of which must hold. Offsets count from the packet's first byte, or
// from where the last move led. A packet that ends before a byte that is compared does not match.
#define EXO_FILTER_STEPS 32
#define EXO_FILTER_COMPARE 0     // `width` bytes (1, 2, 4) at `offset`, in network order, under `mask` are `value`
#define EXO_FILTER_PROTOCOL 1    // the protocol that extension headers led to, under `mask`, is `value`
#define EXO_FILTER_HEADER 2      // moves by the byte at `offset` under `mask`, shifted left by `value` (signed)
#define EXO_FILTER_TAGS 3        // moves past at most two VLAN tags where an EtherType is expected, at `offset`
#define EXO_FILTER_EXTENSIONS 4  // moves from an IPv6 header at `offset` past its extension headers
#define EXO_FILTER_OFFSET_LIMIT 2047
#define EXO_CLAIM_CONSENTS 4

// A handler: up to EXO_HANDLER_LIMIT instructions of 8 bytes (operation, destination, a, b, signed immediate of 4 bytes,
// little-endian) over registers 0 to 7, run when a packet comes that a claim matches. Jumps lead forward only, the last instruction is a
// result. What reads past the packet, writes past EXO_PACKET_SIZE bytes of reply or past the region, or copies more than twice that size,
// fails: the packet is delivered and nothing is sent; what it stored in the region stays. The region is whole pages of frames that
// handler_bind names by capability; the handler ends with that.
#define EXO_HANDLER_LIMIT 256
#define EXO_HANDLER_SENDS 2
#define EXO_HANDLER_CONSTANT 0       // destination = immediate
#define EXO_HANDLER_LENGTH 1         // destination = the packet's length
#define EXO_HANDLER_LOAD8 2          // destination = bytes of the packet at register[a] + immediate, in network order
#define EXO_HANDLER_LOAD16 3
#define EXO_HANDLER_LOAD32 4
#define EXO_HANDLER_STORE8 5         // bytes of the reply at register[a] + immediate = register[b]
#define EXO_HANDLER_STORE16 6
#define EXO_HANDLER_STORE32 7
#define EXO_HANDLER_COPY 8           // reply from register[destination] on = register[b] bytes of the packet from register[a] + immediate on
#define EXO_HANDLER_SUM 9            // destination = Internet checksum of what was copied since the last
#define EXO_HANDLER_ADD 10           // destination = register[a] operation register[b], and so on
#define EXO_HANDLER_SUBTRACT 11
#define EXO_HANDLER_AND 12
#define EXO_HANDLER_OR 13
#define EXO_HANDLER_XOR 14
#define EXO_HANDLER_SHIFT_LEFT 15
#define EXO_HANDLER_SHIFT_RIGHT 16
#define EXO_HANDLER_EQUAL 17         // 1 if so, else 0; unsigned
#define EXO_HANDLER_LESS 18
#define EXO_HANDLER_SKIP_IF_ZERO 19  // skip immediate instructions if register[a] is 0
#define EXO_HANDLER_SEND 20          // sends the reply, at the end
#define EXO_HANDLER_RESULT 21        // ends: delivers the packet if register[a] is not 0
#define EXO_HANDLER_REGION_LOAD32 22   // destination = bytes of the region at register[a] + immediate, a multiple of their number,
#define EXO_HANDLER_REGION_LOAD64 23   //   little-endian
#define EXO_HANDLER_REGION_STORE32 24  // such bytes of the region = register[b]
#define EXO_HANDLER_REGION_STORE64 25
#define EXO_HANDLER_REGION_COPY 26     // as EXO_HANDLER_COPY, into the region
#define EXO_HANDLER_REGION_PAGES 16    // most of a region
// Why handler_bind refuses a program.
#define EXO_HANDLER_BAD_LENGTH 1
#define EXO_HANDLER_BAD_OPERATION 2
#define EXO_HANDLER_BAD_REGISTER 3
#define EXO_HANDLER_BAD_JUMP 4
#define EXO_HANDLER_NO_RESULT 5
#define EXO_HANDLER_TOO_MANY_SENDS 6
#define EXO_HANDLER_NO_REGION 7   // it uses a region, and is bound without one
#define EXO_HANDLER_BAD_OFFSET 8  // past the region's end, whatever the register holds

// A packet ring: one page with struct exo_packet_ring, then half a page for each slot: those of receive[], then of transmit[].
#define EXO_PACKET_RINGS 8       // of one environment
#define EXO_PACKET_SLOTS_LEAST 8
#define EXO_PACKET_SLOTS 128     // most each way; a power of two
#define EXO_PACKET_SIZE 2048     // most bytes of a packet, from its link-layer header
#define EXO_PACKET_SENT 0        // exo_packet.status, of transmit[]
#define EXO_PACKET_REFUSED 1     // no template bound to the ring allows it, or its length is none
#define EXO_PACKET_DROPPED 2     // nobody had room for it

#define EXO_NOTE_NAME "Exo"  // ELF note that carries the ABI version: type 1, one 32-bit word
#define EXO_NOTE_ABI 1

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

// One request. `sequence` is stored last, with release: it is what the server polls, so that a call moves
// one cache line each way. It counts submissions from 1 and wraps; `consumed` is how many completions the
// environment has taken, the server refuses to run more than a ring ahead of it.
struct exo_submission {
  uint64_t tag;
  uint64_t arguments[5];
  uint32_t call;
  uint32_t reserved;
  uint32_t consumed;
  uint32_t sequence;
};

// One answer. `sequence` counts completions from 1 and is stored last.
struct exo_completion {
  uint64_t tag;
  int64_t result;
  uint64_t values[5];
  uint32_t reserved;
  uint32_t sequence;
};

// The first thing an environment reads: its address is in RDI at entry.
struct exo_start {
  uint32_t abi_version;
  uint32_t environment;  // this environment's number
  uint64_t submission_ring, completion_ring, doorbell, status, machine;
  uint64_t stack_low, stack_top;
  uint64_t argument_count, arguments;        // `arguments`: array of addresses of NUL-ended strings
  uint64_t environment_count, environment_variables;
  uint64_t features;      // EXO_FEATURE_*: the processor features that may be used; cpuid is not to be asked
  uint64_t frame_limit;   // most frames this environment may hold
  uint64_t image_end;     // first address past the image
  uint64_t frame_list, tables;  // EXO_KIT_FRAMES, EXO_KIT_TABLES
  uint64_t events, control;     // struct exo_events, struct exo_control
  uint64_t ring_served;         // requests that were served before: the next in the rings is the one after them
};

// The line an environment reads after each submission. Written by the exokernel.
struct exo_status {
  uint32_t service;
  uint32_t others_wait;  // others wait for the processor that this environment has
  uint64_t frames_held;
};

// One entry of page_vector. Unmap and protect leave `capability` and `first` aside, unmap also `rights`.
struct exo_page_operation {
  uint64_t address;
  uint32_t pages, rights;
  uint64_t capability, first;
};

// Written by the environment. While `mask` is not 0 no event handler is entered; it is set as one is. `events_consumed`
// is how many events have been taken from the ring. While `hands_over` is not 0, a transfer gives no more than the rest of the
// slice: whoever has not returned by then goes on without, and the transfer is told to have timed out.
struct exo_control {
  uint32_t mask, events_consumed;
  uint32_t hands_over, reserved;
};

// One event. `sequence` counts from 1 and is stored last; event n is in slot (n - 1) % EXO_EVENT_CAPACITY.
struct exo_event {
  uint32_t kind, data;
  uint64_t value;
  uint64_t time;  // nanoseconds of the monotonic clock
  uint32_t reserved, sequence;
};
struct exo_events {
  uint32_t posted, lost;
  uint32_t reserved[14];
  struct exo_event ring[EXO_EVENT_CAPACITY];
};

// The other end of a connection, as the exokernel last saw it. `generation` changes when the number is used again.
struct exo_peer {
  uint32_t state, generation;
};

// What the environment is asked to give back (kind 0: nothing), and how often something was taken: entry n of the
// repossession vector is at n % EXO_REPOSSESSED_CAPACITY.
struct exo_revocation {
  uint32_t kind, repossessions;
  uint64_t asked, released, deadline;
};
struct exo_repossession {
  uint32_t kind, first, count, reserved;
};

// The frames an environment owns, as runs in no order. Complete unless `truncated`.
struct exo_frame_run {
  uint32_t first, count;
};
struct exo_frame_list {
  uint32_t runs, truncated;
  struct exo_frame_run run[511];
};

// Machine-wide facts, readable without a call. Nanoseconds of the monotonic clock are
// clock_base + (((tsc - tsc_base) * clock_multiplier) >> 32).
struct exo_machine {
  uint64_t frames_total, frames_free;
  uint64_t tsc_base, clock_base, clock_multiplier;
  uint64_t memory_base;  // guest-physical address of frame 0
};

// One step of a filter.
struct exo_filter_step {
  uint8_t operation, width;
  uint16_t offset;
  uint32_t mask, value;
};
// What filter_install is told: claim what the steps match, which `parent`, a capability to a filter with EXO_RIGHT_CALL, must
// match too, for a ring. Where another environment has claimed some of it, `consents` names that filter, with EXO_RIGHT_CALL.
struct exo_claim {
  uint64_t parent;
  uint64_t consents[EXO_CLAIM_CONSENTS];
  uint32_t ring;
  uint32_t steps;
  struct exo_filter_step step[EXO_FILTER_STEPS];
};

// One slot: its buffer holds `length` bytes. `status` of a received packet is the number of the filter that claimed it.
struct exo_packet {
  uint32_t length, status;
};
// Counts wrap; packet n is in slot n % slots. The first three words are the environment's, the next three the exokernel's.
struct exo_packet_ring {
  uint32_t taken;      // packets of receive[] that it is done with
  uint32_t submitted;  // packets of transmit[] that may be sent
  uint32_t notify;     // not 0: post an event when a packet comes
  uint32_t reserved[13];
  uint32_t arrived, completed, dropped;
  uint32_t reserved_[13];
  struct exo_packet receive[EXO_PACKET_SLOTS], transmit[EXO_PACKET_SLOTS];
};

#define EXO_FEATURE_AVX 1
#define EXO_FEATURE_AVX2 2
#define EXO_FEATURE_AVX512 4
#define EXO_FEATURE_FSGSBASE 8
#define EXO_FEATURE_NUCLEUS_CALLS 16  // SYSCALL with a negative RAX is answered by the nucleus
#define EXO_FEATURE_PROTECTION_KEYS 32  // key_set tags pages

_Static_assert(sizeof(struct exo_submission) == 64, "one cache line");
_Static_assert(offsetof(struct exo_submission, sequence) == 60, "polled word ends the line");
_Static_assert(sizeof(struct exo_completion) == 64, "one cache line");
_Static_assert(offsetof(struct exo_completion, sequence) == 60, "polled word ends the line");
_Static_assert(sizeof(struct exo_page_operation) * EXO_VECTOR_LIMIT == EXO_PAGE_SIZE, "a vector is at most a page");
_Static_assert(EXO_RING_CAPACITY * 64 == EXO_PAGE_SIZE, "a ring is one page");
_Static_assert(sizeof(struct exo_start) <= EXO_STATUS_OFFSET, "start and status share a page");
_Static_assert(EXO_STATUS_OFFSET + sizeof(struct exo_status) <= EXO_REVOCATION_OFFSET, "start page layout");
_Static_assert(EXO_REVOCATION_OFFSET + sizeof(struct exo_revocation) <= EXO_PEER_GATES_OFFSET, "start page layout");
_Static_assert(EXO_PEER_GATES_OFFSET + EXO_CONNECTIONS * 4 <= EXO_PEERS_OFFSET, "start page layout");
_Static_assert(EXO_PEERS_OFFSET + EXO_CONNECTIONS * sizeof(struct exo_peer) <= EXO_REPOSSESSED_OFFSET, "start page layout");
_Static_assert(EXO_REPOSSESSED_OFFSET + EXO_REPOSSESSED_CAPACITY * sizeof(struct exo_repossession) <= EXO_PAGE_SIZE,
               "start page layout");
// Three words more are pushed where protection keys are on.
_Static_assert(EXO_TRANSFER_ALONE_OFFSET + EXO_TRANSFER_SLOT_SIZE + EXO_TRANSFER_FRAME_SIZE + 24 <= EXO_TRANSFER_FRAME_TOP, "slots end before the frame");
_Static_assert(EXO_TRANSFER_FRAME_TOP % 16 == 0, "the processor aligns a stack before it pushes");
_Static_assert(EXO_TRANSFER_KIND_MASK < 8 && EXO_TRANSFER_NUMBER_SHIFT == 5, "bits 3 and 4 of CR3 have a meaning");
_Static_assert(EXO_CONNECTIONS << EXO_TRANSFER_NUMBER_SHIFT <= EXO_PAGE_SIZE, "bits below the root table's address");
_Static_assert(sizeof(struct exo_filter_step) == 12, "filter step layout");
_Static_assert(sizeof(struct exo_claim) == 48 + 12 * EXO_FILTER_STEPS, "claim layout");
_Static_assert(offsetof(struct exo_packet_ring, arrived) == 64, "a line for each side");
_Static_assert(offsetof(struct exo_packet_ring, receive) == 128, "a line for each side");
_Static_assert(sizeof(struct exo_packet_ring) <= EXO_PAGE_SIZE, "a packet ring's head is one page");
_Static_assert(sizeof(struct exo_event) == 32, "two events to a cache line");
_Static_assert(sizeof(struct exo_events) == EXO_PAGE_SIZE, "the event ring is one page");
_Static_assert(offsetof(struct exo_events, ring) == EXO_EVENT_RING_OFFSET, "event ring layout");
_Static_assert(sizeof(struct exo_frame_list) == EXO_PAGE_SIZE, "the frame list is one page");
_Static_assert(EXO_KIT_TABLES == (uint64_t)EXO_KIT_TABLES_SLOT << 39, "self link: whole slot");
_Static_assert(EXO_KIT_TABLES_LEVEL1 == (EXO_KIT_TABLES | (uint64_t)EXO_KIT_TABLES_SLOT << 30), "self link: twice");
_Static_assert(EXO_KIT_TABLES_LEVEL2 == (EXO_KIT_TABLES_LEVEL1 | (uint64_t)EXO_KIT_TABLES_SLOT << 21), "thrice");
_Static_assert(EXO_KIT_TABLES_LEVEL3 == (EXO_KIT_TABLES_LEVEL2 | (uint64_t)EXO_KIT_TABLES_SLOT << 12), "four times");
_Static_assert(EXO_NUCLEUS_TABLES == (0xffff000000000000 | (uint64_t)EXO_NUCLEUS_TABLES_SLOT << 39), "whole slot");
_Static_assert(EXO_NUCLEUS_SCRATCH == EXO_NUCLEUS_IDT + EXO_PAGE_SIZE, "the frame goes on there");
_Static_assert(EXO_NUCLEUS_UPCALL_OFFSET == EXO_PAGE_SIZE - 24, "the frame goes on there");
_Static_assert(EXO_CONTROL_OFFSET >= 16, "RSP and SS of the frame are first in the trap page");
_Static_assert(EXO_TRAP_DOUBLE_FAULT_TOP == EXO_PAGE_SIZE, "trap page layout");

// Swift sees the macros whose values are plain literals; the computed addresses come through here.
static const uint64_t exo_kit_start = EXO_KIT_START, exo_kit_machine = EXO_KIT_MACHINE,
                      exo_kit_submission = EXO_KIT_SUBMISSION, exo_kit_completion = EXO_KIT_COMPLETION,
                      exo_kit_trap = EXO_KIT_TRAP, exo_kit_doorbell = EXO_KIT_DOORBELL,
                      exo_kit_frames = EXO_KIT_FRAMES, exo_kit_events = EXO_KIT_EVENTS, exo_kit_tables = EXO_KIT_TABLES,
                      exo_kit_tables_end = EXO_KIT_TABLES_END, exo_kit_arguments = EXO_KIT_ARGUMENTS, exo_kit_end = EXO_KIT_END,
                      exo_stack_top = EXO_STACK_TOP, exo_nucleus_base = EXO_NUCLEUS_BASE,
                      exo_nucleus_text = EXO_NUCLEUS_TEXT, exo_nucleus_data = EXO_NUCLEUS_DATA,
                      exo_nucleus_idt = EXO_NUCLEUS_IDT, exo_nucleus_scratch = EXO_NUCLEUS_SCRATCH,
                      exo_nucleus_tables = EXO_NUCLEUS_TABLES, exo_nucleus_transfer = EXO_NUCLEUS_TRANSFER,
                      exo_nucleus_stacks = EXO_NUCLEUS_STACKS,
                      exo_kit_lines = EXO_KIT_LINES;
#endif

#include "exo_calls.h"
#endif
