// Paths that time themselves eight times each. The clock counts instructions where an emulator makes it (`exorun bench
// --count`). RDI: where eight 32-bit differences go. RSI: a read-only page.
#include "exo_abi.h"

.macro function name
  .globl bench_count_\name
  .type bench_count_\name, @function
  bench_count_\name:
.endm
.macro start
  rdtsc
  mov %eax, %ebx
.endm
.macro stop
  rdtsc
  sub %ebx, %eax
  mov %eax, (%rdi)
.endm
.macro again
  add $4, %rdi
  dec %r8d
  jnz 1b
  pop %rbx
  ret
.endm
.macro prologue
  push %rbx
  mov $8, %r8d
  xor %r10d, %r10d
  movabs $0x8000000000000000, %r11  // no address: #GP
  1:
.endm

.text
.balign 64
// Nothing, and as many instructions as are known.
function nothing
  prologue
  start
  stop
  again
function nops
  prologue
  start
  .rept 256
    nop
  .endr
  stop
  again

// An exception from the instruction that raises it to the first one of its handler, which stops the clock; and through
// the shortest handler there is and back. The handlers go on at R9.
.macro exception name, insn:vararg
  function \name\()_there
    lea 2f(%rip), %r9
    prologue
    start
    \insn
    2:
    again
  function \name\()_round
    lea 2f(%rip), %r9
    prologue
    start
    \insn
    2:
    stop
    again
.endm
exception de, div %r10d
exception bp, int3
exception ud, ud2
exception gp, mov (%r11), %r10d
exception pf, mov %r10, (%rsi)

// What is on the stack: the frame; an error code below it; the address below that.
.macro handler suffix, drop
  function seen_\suffix
    stop
    .if \drop
      add $\drop, %rsp
    .endif
    mov %r9, (%rsp)
    iretq
  function resume_\suffix
    .if \drop
      add $\drop, %rsp
    .endif
    mov %r9, (%rsp)
    iretq
.endm
.balign 16
handler plain, 0
handler code, 8
handler address, 16

// SYSCALL to a handler at ring 3, and to it and back.
function upcall_there
  prologue
  start
  syscall
  again
function upcall_round
  prologue
  start
  syscall
  stop
  again
function upcall_seen
  stop
  jmp *%rcx
function upcall_resume
  jmp *%rcx

// The nucleus's null call: the number, then SYSCALL. It loses R8 and RDI.
function null_call
  push %rbx
  push %r12
  push %r13
  mov %rdi, %r12
  mov $8, %r13d
  1:
  start
  mov $EXO_NUCLEUS_CALL_NULL, %rax
  syscall
  mov %r12, %rdi
  stop
  add $4, %r12
  dec %r13d
  jnz 1b
  pop %r13
  pop %r12
  pop %rbx
  ret

// Its protection of one page: RSI the page, RDX its entry, RCX the other entry. Back and forth.
function protect
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rdi, %r12
  mov %rsi, %r13
  mov %rdx, %r14
  mov %rcx, %rbp
  mov $8, %r15d
  1:
  mov %r13, %rdi
  mov %r14, %rsi
  start
  mov %rbp, %rdx
  mov $EXO_NUCLEUS_CALL_PROTECT, %rax
  syscall
  mov %r12, %rdi
  stop
  xchg %r14, %rbp
  add $4, %r12
  dec %r15d
  jnz 1b
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
.section .note.GNU-stack, "", @progbits
