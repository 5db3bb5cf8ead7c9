// The nucleus: every instruction the exokernel runs in ring 0. It is data to the exokernel, which copies it
// into one frame that all address spaces map supervisor-only and never writable.
//
// Rules: touch only frames no environment can unmap; return with iretq; carry nothing out but what is sent.
#include "exo_abi.h"

// Emits one instruction and counts it.
.macro op insn:vararg
  \insn
  .set count, count + 1
  .set total, total + 1
.endm
.macro at offset
  .org exo_nucleus_start + \offset, 0xcc
  .set count, 0
.endm

.set total, 0
.section .rodata
.balign 4096
.globl exo_nucleus_start, exo_nucleus_finish
exo_nucleus_start:

// Vectors that no environment has bound: one `out`, whose address says which vector it was. The hardware has
// pushed the frame on the pinned trap page, where the host reads it.
.set vector, 0
.rept EXO_VECTOR_COUNT
  at (vector * EXO_NUCLEUS_STUB_SIZE)
  op outb %al, $EXO_NUCLEUS_PORT
  .set vector, vector + 1
.endr
.set count_default, count

// #PF for an environment that asked for the address: leaves [CR2, error, RIP, CS, RFLAGS, RSP, SS] on the
// environment's own pinned page-fault stack and enters its handler with RSP at CR2. The return frame holds
// the handler and that RSP; both are constant while the vector is bound.
at EXO_NUCLEUS_PF_ADDRESS_STUB
  op push %rax
  op mov %cr2, %rax
  op xchg %rax, (%rsp)
  op movabs $(EXO_NUCLEUS_DATA + EXO_NUCLEUS_RETURN_OFFSET), %rsp
  op iretq
.set count_pf_address, count

// SYSCALL where the hardware takes it to ring 0 with the caller's stack: no binding exists, so it ends here.
at EXO_NUCLEUS_SYSCALL_STUB
  op outb %al, $EXO_NUCLEUS_PORT
.set count_syscall, count

// The start-up probe of what an instruction costs here: 32 nops between two readings of the clock, low words
// in ESI and EAX.
at EXO_NUCLEUS_PROBE_STUB
  rdtsc
  mov %eax, %esi
  .rept 32
    nop
  .endr
  rdtsc
  outb %al, $EXO_NUCLEUS_PORT

exo_nucleus_finish:

.balign 4
.globl exo_nucleus_count_default, exo_nucleus_count_pf_address, exo_nucleus_count_syscall, exo_nucleus_count_total
exo_nucleus_count_default: .long count_default
exo_nucleus_count_pf_address: .long count_pf_address
exo_nucleus_count_syscall: .long count_syscall
exo_nucleus_count_total: .long total
.section .note.GNU-stack, "", @progbits
