// One function for each exception that 64-bit code at ring 3 can raise, each as an instruction of its own kind would.
// R11 holds the address to go on at, so that a handler needs to know no instruction's length.
#include "exo_abi.h"

.macro function name
  .section .text.\name, "ax", @progbits
  .globl \name
  .type \name, @function
\name:
  lea 1f(%rip), %r11
.endm

function exo_raise_divide_error
  xor %edx, %edx
  xor %ecx, %ecx
  mov $1, %eax
  div %ecx
1:ret

// The trap comes after the instruction that follows POPF. The handler clears TF.
function exo_raise_debug
  pushfq
  orl $0x100, (%rsp)
  popfq
  nop
1:ret

function exo_raise_breakpoint
  int3
1:ret

function exo_raise_invalid_opcode
  ud2
1:ret

function exo_raise_segment_not_present
  mov $EXO_ABSENT_SELECTOR, %ecx
  mov %ecx, %ds
1:ret

// A memory operand based on RBP belongs to the stack segment.
function exo_raise_stack_fault
  push %rbp
  movabs $0x8000000000000000, %rbp
  mov (%rbp), %eax
1:pop %rbp
  ret

function exo_raise_general_protection
  movabs $0x8000000000000000, %rcx
  mov (%rcx), %eax
1:ret

// Reads the address in RDI.
function exo_raise_page_fault
  mov (%rdi), %eax
1:ret

// The unit reports a division by zero at the next instruction that waits for it.
function exo_raise_floating_point
  fninit
  push $0x37b  // all masked but division by zero
  fldcw (%rsp)
  pop %rax
  fldz
  fld1
  fdiv %st(1), %st
  fwait
1:fninit
  ret

// The handler clears AC.
function exo_raise_alignment
  pushfq
  orl $0x40000, (%rsp)
  popfq
  mov -15(%rsp), %eax
1:ret

function exo_raise_simd_floating_point
  push $0x1d80  // all masked but division by zero
  ldmxcsr (%rsp)
  mov $1, %eax
  cvtsi2ss %eax, %xmm0
  xorps %xmm1, %xmm1
  divss %xmm1, %xmm0
1:movl $0x1f80, (%rsp)
  ldmxcsr (%rsp)
  pop %rax
  ret

// Fills every general and SSE register, raises #BP, and returns how many came back changed. R11 is left to the
// address to go on at, RSP to the stack.
.set pattern, 0x0123456789abcde0
function exo_raise_and_compare
  .irp register, rbx, rbp, r12, r13, r14, r15
    push %\register
  .endr
  .irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movabs $(pattern + 16 * \number), %rax
    movq %rax, %xmm\number
  .endr
  .set number, 0
  .irp register, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r12, r13, r14, r15
    movabs $(pattern + number), %\register
    .set number, number + 1
  .endr
  int3
1:push %rax
  xor %eax, %eax
  .set number, 1
  .irp register, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r12, r13, r14, r15
    movabs $(pattern + number), %r11
    cmp %r11, %\register
    setne %r11b
    movzbl %r11b, %r11d
    add %r11d, %eax
    .set number, number + 1
  .endr
  pop %rbx
  movabs $pattern, %r11
  cmp %r11, %rbx
  setne %r11b
  movzbl %r11b, %r11d
  add %r11d, %eax
  .irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movabs $(pattern + 16 * \number), %r11
    movq %xmm\number, %rbx
    cmp %r11, %rbx
    setne %r11b
    movzbl %r11b, %r11d
    add %r11d, %eax
  .endr
  .irp register, r15, r14, r13, r12, rbp, rbx
    pop %\register
  .endr
  ret

.section .note.GNU-stack, "", @progbits
