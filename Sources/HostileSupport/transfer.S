// Transfers as an attacker makes them: any number, any registers, and an entry that only takes note.
#include "exo_abi.h"
.section .data.hostile_transfer, "aw", @progbits
saved: .quad 0

.section .text.hostile_transfer, "ax", @progbits
// Puts what the caller keeps where hostile_transfer_entry finds it.
.macro keep
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, saved(%rip)
.endm

// uint64_t hostile_transfer(uint64_t rax): what was in RAX as it came back.
.globl hostile_transfer
.type hostile_transfer, @function
hostile_transfer:
  keep
  mov %rdi, %rax
  mov $-1, %rbx
  mov $-1, %rcx
  mov $-1, %rdx
  int $4
.globl hostile_transfer_entry
.type hostile_transfer_entry, @function
hostile_transfer_entry:
  mov saved(%rip), %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret

// void hostile_leave(uint64_t rsp, uint64_t flags, uint64_t rax): leaves with this stack and these flags, which whoever comes in
// next is given. Comes back by the refusal, or as it is sent home.
.globl hostile_leave
.type hostile_leave, @function
hostile_leave:
  keep
  mov %rdx, %rax
  push %rsi
  popfq
  mov %rdi, %rsp
  int $4
// Answers a caller with what it sent; needs no stack.
.globl hostile_left
.type hostile_left, @function
hostile_left:
  test $EXO_TRANSFER_KIND_MASK, %al
  jne 1f
  shr $(EXO_TRANSFER_NUMBER_SHIFT - 3), %eax
  int $4
  jmp hostile_left
1:
  mov saved(%rip), %rsp
  push $0x202
  popfq
  jmp hostile_transfer_entry
// The same with the trap flag among the flags, which leaves from the stack as it is: what follows POPFQ is not to be trapped.
.globl hostile_leave_stepping
.type hostile_leave_stepping, @function
hostile_leave_stepping:
  keep
  mov %rdx, %rax
  push %rsi
  popfq
  int $4
  jmp hostile_left

// uint64_t hostile_flags(void)
.globl hostile_flags
.type hostile_flags, @function
hostile_flags:
  pushfq
  pop %rax
  ret
.section .note.GNU-stack, "", @progbits
