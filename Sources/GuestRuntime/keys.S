// Protection keys: the register PKRU, which ring 3 reads and writes by itself. Neither instruction exists before the machine's
// first key_set. RDPKRU and WRPKRU want ECX 0, WRPKRU EDX too.
#include "exo_abi.h"

.section .data.exo_keys, "aw", @progbits
.balign 4
.globl exo_keys_value, exo_keys_used
exo_keys_value: .long 0  // what PKRU is to be while this environment runs
exo_keys_used: .long 0

.section .text.exo_keys, "ax", @progbits

// uint32_t exo_keys_read(void)
.globl exo_keys_read
.type exo_keys_read, @function
exo_keys_read:
  xor %ecx, %ecx
  rdpkru
  ret
.size exo_keys_read, . - exo_keys_read

// void exo_keys_write(uint32_t value)
.globl exo_keys_write
.type exo_keys_write, @function
exo_keys_write:
  mov %edi, %eax
  mov %eax, exo_keys_value(%rip)
  xor %ecx, %ecx
  xor %edx, %edx
  wrpkru
  ret
.size exo_keys_write, . - exo_keys_write

// Where peers come in, and one's own calls come back, once keys are used here: a transfer leaves PKRU at 0. What is taken from
// RCX, R11 and R13 carries no part of a message; RDX does, and RAX says who comes.
.globl exo_transfer_entry_with_keys
.type exo_transfer_entry_with_keys, @function
exo_transfer_entry_with_keys:
  mov %rdx, %r11
  mov %rax, %r13
  mov exo_keys_value(%rip), %eax
  xor %ecx, %ecx
  xor %edx, %edx
  wrpkru
  mov %r11, %rdx
  mov %r13, %rax
  jmp exo_transfer_entry
.size exo_transfer_entry_with_keys, . - exo_transfer_entry_with_keys

.section .note.GNU-stack, "", @progbits
