// Transfers as an attacker makes them: any number, any registers, and an entry that only takes note.
#include "exo_abi.h"
.section .data.hostile_transfer, "aw", @progbits
saved: .quad 0

.section .text.hostile_transfer, "ax", @progbits
// uint64_t hostile_transfer(uint64_t rax): what was in RSP as it came back.
.globl hostile_transfer
.type hostile_transfer, @function
hostile_transfer:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, saved(%rip)
  mov %rdi, %rax
  mov $-1, %rbx
  mov $-1, %rcx
  mov $-1, %rdx
  int $4
  ud2
.globl hostile_transfer_entry
.type hostile_transfer_entry, @function
hostile_transfer_entry:
  mov %rsp, %rax
  mov saved(%rip), %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
.section .note.GNU-stack, "", @progbits
