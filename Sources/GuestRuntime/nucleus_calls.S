// Calls that the nucleus answers by itself, where EXO_FEATURE_NUCLEUS_CALLS is offered: SYSCALL with a negative number in
// RAX. What it loses (RCX, R8, R9, R11, RSI, RDI) a C function may lose.
#include "exo_abi.h"

.section .text.exo_nucleus_calls, "ax", @progbits

// RDI: an address; RSI: its page-table entry; RDX: the new one. Returns what was there: RSI's if it was exchanged.
.globl exo_nucleus_protect
.type exo_nucleus_protect, @function
exo_nucleus_protect:
  mov $EXO_NUCLEUS_CALL_PROTECT, %rax
  syscall
  ret
.size exo_nucleus_protect, . - exo_nucleus_protect

// Any number; returns what is left in RAX.
.globl exo_nucleus_call
.type exo_nucleus_call, @function
exo_nucleus_call:
  mov %rdi, %rax
  syscall
  ret
.size exo_nucleus_call, . - exo_nucleus_call

.section .note.GNU-stack, "", @progbits
