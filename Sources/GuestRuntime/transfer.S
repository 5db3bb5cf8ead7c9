// Protected control transfer: calling through a connection, and the entry where peers come in.
//
// This environment is in one place at a time. `exo_transfer_open` says that it is idle: whoever comes in takes the word, and
// gives it back as it leaves; one that comes in between is turned away at once, and needs no stack for that. What a call
// returns to lies on the caller's stack; where that is, and which connection is to come back, is in two more words. R12 goes
// with a call and comes back with its answer, or with its refusal: an answer to a call that was given up is not taken for that
// to the next, nor a refused answer to somebody else's for a refused call of one's own. So it is unlike anybody else's.
//
// Whoever comes in does so behind the last `int $4`, wherever that was. So there is but one, and the entry follows it.
#include "exo_abi.h"

#define NOT_WAITING 0xff
// struct exo_message: seven words and the gate.
#define MESSAGE_SIZE 64
#define SLOT_SHIFT 3  // of EXO_TRANSFER_SLOT_SIZE
#define NUMBER_MASK (EXO_CONNECTIONS - 1)

.section .data.exo_transfer, "aw", @progbits
.balign 64
.globl exo_transfer_open
exo_transfer_open: .long 0
awaited: .long NOT_WAITING
waiting_stack: .quad 0
exo_transfer_sequence:
sequence: .quad 0  // of the last call; the upper half is the environment's number
.globl exo_transfer_doorbell, exo_transfer_wide, exo_transfer_sequence
exo_transfer_doorbell: .quad 0
exo_transfer_wide: .long 0  // the upper halves of the vector registers are in use
default_mxcsr: .long 0x1f80

.section .bss.exo_transfer, "aw", @nobits
.balign 4096
  .skip 16384
gate_stack:

.section .text.exo_transfer, "ax", @progbits

// What vector registers hold is not sent. Changes flags alone.
.macro forget_vectors
  cmpl $0, exo_transfer_wide(%rip)
  je 7f
  vzeroall
  jmp 8f
7:
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    pxor %xmm\n, %xmm\n
  .endr
8:
.endm
// Nor what came with the peer's control words.
.macro own_control
  ldmxcsr default_mxcsr(%rip)
  fninit
.endm
.macro load_message from
  mov 0(\from), %rdi
  mov 16(\from), %rdx
  mov 24(\from), %r8
  mov 32(\from), %r9
  mov 40(\from), %r10
  mov 48(\from), %rbx
  mov 8(\from), %rsi
.endm
.macro store_message to
  mov %rdi, 0(\to)
  mov %rsi, 8(\to)
  mov %rdx, 16(\to)
  mov %r8, 24(\to)
  mov %r9, 32(\to)
  mov %r10, 40(\to)
  mov %rbx, 48(\to)
.endm
// An environment with one connection leaves by that, whatever number it says: one that is not there is refused here.
.macro check_number
  mov %edi, %eax
  and $NUMBER_MASK, %eax
  movabs $(EXO_KIT_START + EXO_PEERS_OFFSET), %rcx
  cmpl $EXO_PEER_NONE, (%rcx,%rax,8)
  je nobody
.endm
.macro number_call
  mov sequence(%rip), %r12
  inc %r12
  mov %r12, sequence(%rip)
.endm
// Leaves what the caller keeps where `resume` finds it, and the slot of the connection in RAX. A processor may leave a null SS
// behind a direct gate, and nobody could return here by that.
.macro begin_call
  mov %ss, %eax
  cmp $EXO_USER_SS, %eax
  je 9f
  mov $EXO_USER_SS, %eax
  mov %eax, %ss
9:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  push %rsi
  mov %rsp, waiting_stack(%rip)
  mov %edi, awaited(%rip)
  mov %edi, %eax
  shl $SLOT_SHIFT, %eax
.endm
.macro forget_others
  xor %ecx, %ecx
  xor %ebp, %ebp
  xor %r11d, %r11d
  xor %r12d, %r12d
  xor %r13d, %r13d
  xor %r14d, %r14d
  xor %r15d, %r15d
.endm

// int64_t exo_transfer_call(uint32_t connection, struct exo_message *message): 0, or a negative error number. The message is
// the peer's answer then.
.globl exo_transfer_call
.type exo_transfer_call, @function
exo_transfer_call:
  check_number
  begin_call
  forget_vectors
  load_message %rsi
  forget_others
  number_call
  jmp transfer
.size exo_transfer_call, . - exo_transfer_call

// The same to a peer that is trusted with this environment's registers: they are sent as they are.
.globl exo_transfer_call_trusting
.type exo_transfer_call_trusting, @function
exo_transfer_call_trusting:
  check_number
  begin_call
  load_message %rsi
  number_call
  jmp transfer
.size exo_transfer_call_trusting, . - exo_transfer_call_trusting

nobody:
  mov $-EXO_ENOENT, %rax
  ret

// RAX is the slot of a connection.
transfer:
  int $4
  cmpl $0, exo_keys_used(%rip)
  jne exo_transfer_entry_with_keys

// Where peers come in, and where one's own calls come back.
.globl exo_transfer_entry
.type exo_transfer_entry, @function
exo_transfer_entry:
  mov %eax, %ecx
  shr $EXO_TRANSFER_NUMBER_SHIFT, %ecx
  and $NUMBER_MASK, %ecx
  and $EXO_TRANSFER_KIND_MASK, %eax
  cmp $EXO_TRANSFER_RETURNED, %eax
  je returned
  ja unanswered

// Called, by the connection whose number ECX holds.
  xchg %eax, exo_transfer_open(%rip)
  test %eax, %eax
  je turned_away
  lea gate_stack(%rip), %rsp
  push %rcx  // 8 from here, and 64 for the message: 16-byte aligned at the call
  sub $(MESSAGE_SIZE + 8), %rsp
  store_message %rsp
  mov %r12, MESSAGE_SIZE(%rsp)
  movabs $(EXO_KIT_START + EXO_PEER_GATES_OFFSET), %rax
  mov (%rax,%rcx,4), %eax
  mov %eax, 56(%rsp)
  own_control
  mov %rsp, %rdi
  call exo_guest_called
  forget_vectors
  mov (MESSAGE_SIZE + 8)(%rsp), %rax
  shl $SLOT_SHIFT, %eax
  load_message %rsp
  forget_others
  mov MESSAGE_SIZE(%rsp), %r12
  // From here on the stack is the next caller's.
  movl $1, exo_transfer_open(%rip)
  jmp transfer

turned_away:
  mov %ecx, %eax
  shl $SLOT_SHIFT, %eax
  mov $-EXO_EBUSY, %rbx
  jmp transfer

returned:
  cmp %ecx, awaited(%rip)
  jne stray
  cmp %r12, sequence(%rip)
  jne stray
  movl $NOT_WAITING, awaited(%rip)
  mov waiting_stack(%rip), %rsp
  pop %rax
  store_message %rax
  mov %rbx, %rax
  // A status is an error, or 0.
  test %rax, %rax
  jle resume
  xor %eax, %eax
resume:
  own_control
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret

// The call came to nothing.
unanswered:
  cmpl $NOT_WAITING, awaited(%rip)
  je stray
  // What the exokernel says of itself brings no R12 along.
  cmp $EXO_TRANSFER_REFUSED, %eax
  jne 2f
  cmp %r12, sequence(%rip)
  jne stray
2:
  movl $NOT_WAITING, awaited(%rip)
  mov waiting_stack(%rip), %rsp
  pop %rcx
  mov $-EXO_ENOENT, %rcx
  cmp $EXO_TRANSFER_REFUSED, %eax
  je 1f
  // Heard: from here on answers may come in again.
  mov exo_transfer_doorbell(%rip), %rcx
  movl $1, EXO_DOORBELL_SERVE(%rcx)
  mov $-EXO_ENOENT, %rcx
  cmp $EXO_TRANSFER_STOPPED, %eax
  je 1f
  mov $-EXO_EPIPE, %rcx
  cmp $EXO_TRANSFER_ENDED, %eax
  je 1f
  mov $-EXO_ETIMEDOUT, %rcx
1:
  mov %rcx, %rax
  jmp resume

// Nobody waits for this, or an answer found nobody: the virtual processor goes back to whose it is.
stray:
  mov exo_transfer_doorbell(%rip), %rax
  movl $1, EXO_DOORBELL_DECLINE(%rax)
  jmp stray
.size exo_transfer_entry, . - exo_transfer_entry

.section .note.GNU-stack, "", @progbits
