// The nucleus: every instruction the exokernel runs in ring 0. It is data to the exokernel, which copies it
// into one frame that all address spaces map supervisor-only and never writable.
//
// Rules: touch only frames no environment can unmap; carry nothing out but what is sent; where an environment's own doing
// can make an instruction here fault, the fault must end that environment and nothing else. RCX is an address at SYSRETQ, for
// nothing is mapped where SYSCALL would leave another; and every gate has a stack of its own, so that nothing is pushed where the
// caller's RSP points.
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

at EXO_NUCLEUS_NO_ENTRY_STUB
  op outb %al, $EXO_NUCLEUS_PORT

// SYSCALL where the hardware takes it to ring 0, with the caller's stack: RCX holds where to go on, R11 the flags.
//
// A number from 0 on is sent to the environment's handler at ring 3, with every register as it was. The frame's RIP, CS
// and RFLAGS are out of the environment's reach; what it does to RSP and SS makes `iretq` fault at worst, which is a
// double fault (the gate leads to ring 3) and ends it.
at EXO_NUCLEUS_SYSCALL_STUB
  op cmp $EXO_NUCLEUS_CALL_PROTECT, %rax
  op je protect
  op jl other
  op mov %rsp, (exo_nucleus_start + EXO_NUCLEUS_SCRATCH - EXO_NUCLEUS_TEXT)(%rip)
  op lea (exo_nucleus_start + EXO_NUCLEUS_IDT - EXO_NUCLEUS_TEXT + EXO_NUCLEUS_UPCALL_OFFSET)(%rip), %rsp
  op iretq
.set count_upcall, count

// Protection of one page of one's own. RDI is the page's address, RSI its entry as the caller read it, RDX what is to
// stand there. What is judged is the caller's copy: the exchange takes place only if it is the truth. Only presence,
// writability and executability may differ, within what was granted; no pinned page and nothing without a grant, which
// are the kit, the nucleus and links between tables. Whatever RDI says, the slot lies in the window on the caller's own
// tables; where a table is missing this faults, and ends the caller.
.set count, 2
protect:
  op mov %rsi, %rax
  op xor %rdx, %rsi
  op movabs $0x7ffffffffffffffc, %r8
  op test %r8, %rsi
  op jnz refuse
  op bt $52, %rax  // pinned
  op jc refuse
  op bt $9, %rax  // granted at all
  op jnc refuse
  op mov %rax, %r9
  op shl $52, %r9  // granted execution, where no-execute is
  op or %rdx, %r9
  op jns refuse
  op test $2, %dl
  op jz 1f
  op bt $10, %rax  // granted writing
  op jnc refuse
  op test $1, %dl  // writable and absent is no entry
  op jz refuse
1:
  op shl $16, %rdi
  op shr $28, %rdi
  op movabs $EXO_NUCLEUS_TABLES, %r8
  op lock cmpxchg %rdx, (%r8,%rdi,8)
  op shl $12, %rdi
  op invlpg (%rdi)
  op sysretq
.set count_protect, count
refuse:
  op xor %eax, %eax
  op sysretq

.set count, 3
other:
  op cmp $EXO_NUCLEUS_CALL_NULL, %rax
  op jne 1f
  op xor %eax, %eax
  op sysretq
.set count_null, count
1:
  op mov $-EXO_ENOSYS, %rax
  op sysretq

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

// Protected control transfer: RAX holds the number of a connection * 8. The processor has pushed the frame of whoever leaves into its
// own transfer page, which lies at the same address everywhere and has room for one. So what is returned through after the switch is
// the frame by which the peer left last. The slot is the peer's root table; in its lowest bits, of which CR3 takes no notice, it
// says who comes and why, and is left in RAX. A slot of no connection leads back to the caller.
//
// Once protection keys are on in this machine, PKRU is not the message's: one environment's would keep another from its own
// stack. So it becomes 0 on the way, for which three registers must be, and lie below the frame meanwhile.
at EXO_NUCLEUS_TRANSFER_KEYS_STUB
  op push %rcx
  op push %rdx
  op push %rax
  op xor %eax, %eax
  op xor %ecx, %ecx
  op xor %edx, %edx
  op wrpkru
  op pop %rax
  op pop %rdx
  op pop %rcx
.set count_transfer_keys, count
at EXO_NUCLEUS_TRANSFER_STUB
  op and $((EXO_CONNECTIONS - 1) * EXO_TRANSFER_SLOT_SIZE), %eax
  op mov EXO_NUCLEUS_TRANSFER(%rax), %rax
  op mov %rax, %cr3
  op iretq
.set count_transfer, count
.set count_transfer_keys, count_transfer_keys + count

// The same for an environment with one connection, to which every number leads.
at EXO_NUCLEUS_TRANSFER_ALONE_STUB
  op mov (EXO_NUCLEUS_TRANSFER + EXO_TRANSFER_ALONE_OFFSET), %rax
  op mov %rax, %cr3
  op iretq
.set count_transfer_alone, count

exo_nucleus_finish:

.balign 4
.globl exo_nucleus_count_default, exo_nucleus_count_pf_address, exo_nucleus_count_upcall, exo_nucleus_count_protect
.globl exo_nucleus_count_null, exo_nucleus_count_transfer, exo_nucleus_count_transfer_keys
.globl exo_nucleus_count_transfer_alone, exo_nucleus_count_total
exo_nucleus_count_default: .long count_default
exo_nucleus_count_pf_address: .long count_pf_address
exo_nucleus_count_upcall: .long count_upcall
exo_nucleus_count_protect: .long count_protect
exo_nucleus_count_null: .long count_null
exo_nucleus_count_transfer: .long count_transfer
exo_nucleus_count_transfer_keys: .long count_transfer_keys
exo_nucleus_count_transfer_alone: .long count_transfer_alone
exo_nucleus_count_total: .long total
.section .note.GNU-stack, "", @progbits
