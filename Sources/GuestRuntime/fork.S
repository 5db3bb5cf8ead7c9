// Forking: what returns twice lies on the stack as it does of a thread that does not run (threads.S). exo_guest_fork puts it into the
// child with all else, where exo_fork_enter goes on with it.
#include "exo_abi.h"

.section .text.exo_fork, "ax", @progbits

// int64_t exo_fork(void): what exo_guest_fork returns, and 1 in the child.
.globl exo_fork
.type exo_fork, @function
exo_fork:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  sub $8, %rsp
  stmxcsr (%rsp)
  fnstcw 4(%rsp)
  mov %rsp, %rdi
  call exo_guest_fork
  jmp resume
.size exo_fork, . - exo_fork

// Where the child begins. RDI: its start page; RSI: the stack pointer that exo_guest_fork was given.
.globl exo_fork_enter
.type exo_fork_enter, @function
exo_fork_enter:
  mov %rsi, %rsp
  call exo_guest_forked
  mov $1, %eax
resume:
  fldcw 4(%rsp)
  ldmxcsr (%rsp)
  add $8, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size exo_fork_enter, . - exo_fork_enter

.section .note.GNU-stack, "", @progbits
