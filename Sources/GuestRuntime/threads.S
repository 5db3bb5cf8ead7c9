// Switching between threads. What a thread that does not run needs is on its stack: from the stack pointer up, MXCSR and the
// x87 control word, R15, R14, R13, R12, RBX, RBP, and where to go on. One that was interrupted has the rest above that.
#include "exo_abi.h"

.section .text.exo_threads, "ax", @progbits

// RDI: where to keep this thread's stack pointer; RSI: the other's.
.globl exo_thread_switch
.type exo_thread_switch, @function
exo_thread_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  sub $8, %rsp
  stmxcsr (%rsp)
  fnstcw 4(%rsp)
  mov %rsp, (%rdi)
  mov %rsi, %rsp
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
.size exo_thread_switch, . - exo_thread_switch

// Makes a stack that, switched to, begins in exo_guest_thread_run. RDI: its top. Returns the stack pointer.
.globl exo_thread_prepare
.type exo_thread_prepare, @function
exo_thread_prepare:
  lea exo_guest_thread_run(%rip), %rax
  movq $0, -8(%rdi)  // a backtrace ends here
  mov %rax, -16(%rdi)
  lea -72(%rdi), %rax
  movq $0, 8(%rax)
  movq $0, 16(%rax)
  movq $0, 24(%rax)
  movq $0, 32(%rax)
  movq $0, 40(%rax)
  movq $0, 48(%rax)
  movl $0x1f80, (%rax)
  movl $0x37f, 4(%rax)
  ret
.size exo_thread_prepare, . - exo_thread_prepare

// The same stack emptied, to call exo_guest_thread_end on. RDI: its top.
.globl exo_thread_prepare_end
.type exo_thread_prepare_end, @function
exo_thread_prepare_end:
  movq $0, -8(%rdi)
  lea -8(%rdi), %rax
  ret
.size exo_thread_prepare_end, . - exo_thread_prepare_end

// Where a thread goes on whose turn was taken away: what it was doing is the word at its stack pointer, a red zone beyond
// that. All registers are saved, by XSAVE where there are more than FXSAVE knows of.
#define RED_ZONE 128
#define XSAVE_SIZE 2816  // x87, SSE, AVX and AVX-512 in the standard form (Intel SDM volume 1, 13.4)
.globl exo_thread_preempted
.type exo_thread_preempted, @function
exo_thread_preempted:
  pushfq
  push %rax
  push %rbx
  push %rcx
  push %rdx
  push %rsi
  push %rdi
  push %rbp
  push %r8
  push %r9
  push %r10
  push %r11
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, %rbx
  cld
  sub $XSAVE_SIZE, %rsp
  and $-64, %rsp
  mov exo_thread_components(%rip), %eax
  test %eax, %eax
  jz 1f
  xor %edx, %edx
  .irp word, 0, 8, 16, 24, 32, 40, 48, 56
    mov %rdx, (512 + \word)(%rsp)
  .endr
  xsave64 (%rsp)
  call exo_guest_thread_preempted
  mov exo_thread_components(%rip), %eax
  xor %edx, %edx
  xrstor64 (%rsp)
  jmp 2f
1:fxsave64 (%rsp)
  call exo_guest_thread_preempted
  fxrstor64 (%rsp)
2:mov %rbx, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %r11
  pop %r10
  pop %r9
  pop %r8
  pop %rbp
  pop %rdi
  pop %rsi
  pop %rdx
  pop %rcx
  pop %rbx
  pop %rax
  popfq
  ret $RED_ZONE
.size exo_thread_preempted, . - exo_thread_preempted

// State components that XSAVE has to save; 0 where FXSAVE saves all there is.
.section .bss.exo_thread_components, "aw", @nobits
.globl exo_thread_components
.balign 4
exo_thread_components: .long 0

.section .note.GNU-stack, "", @progbits
