// PKRU, and what comes right after it was written: with key 0 forbidden no stack can be used any more.
#include "exo_abi.h"

.section .text.hostile_keys, "ax", @progbits

.macro function name
  .globl \name
  .type \name, @function
  .balign 16
\name:
.endm
.macro write_keys
  mov %edi, %eax
  xor %ecx, %ecx
  xor %edx, %edx
  wrpkru
.endm

function hostile_read_keys
  xor %ecx, %ecx
  rdpkru
  ret

function hostile_write_keys
  write_keys
  ret

// The same, then an exception, a call of the handler of SYSCALL, a call of the nucleus.
function hostile_keys_breakpoint
  write_keys
  int3
  ud2
function hostile_keys_system_call
  write_keys
  mov $5, %eax
  syscall
  ud2
function hostile_keys_spin
  write_keys
1: jmp 1b

// uint64_t hostile_keys_transfer(uint64_t rax, uint32_t keys): as hostile_transfer, with PKRU set. What PKRU was as it came
// back is in the upper half; RCX and RDX must be as they were sent.
function hostile_keys_transfer
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, saved(%rip)
  mov %rdi, %rbx
  mov %esi, %edi
  write_keys
  mov %rbx, %rax
  mov $0x1234567, %rcx
  mov $0x7654321, %rdx
  int $4
function hostile_keys_entry
  mov saved(%rip), %rsp
  xor %eax, %eax
  cmp $0x1234567, %rcx
  jne 1f
  cmp $0x7654321, %rdx
  jne 1f
  xor %ecx, %ecx
  rdpkru
  jmp 2f
1: mov $-1, %rax
2:
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret

.section .data.hostile_keys, "aw", @progbits
.balign 8
saved: .quad 0
.section .note.GNU-stack, "", @progbits
