// Entry: RDI holds the address of struct exo_start, RSP the top of a stack, 16-byte aligned.
#include "exo_abi.h"

.section .text._start, "ax", @progbits
.globl _start
.type _start, @function
_start:
  .cfi_startproc
  .cfi_undefined rip
  rdtsc
  shl $32, %rdx
  or %rdx, %rax
  mov %rax, exo_entry_ticks(%rip)
  xor %ebp, %ebp  // a backtrace ends here
  call exo_guest_begin
  sub $16, %rsp
  mov %rsp, %rdi
  call exo_guest_arguments
  mov (%rsp), %edi
  mov %rax, %rsi
  add $16, %rsp
  call main  // with argc and argv, for those written in C
  mov %eax, %edi
  call exo_guest_end
  ud2
  .cfi_endproc
.size _start, . - _start

// The clock at the first instruction.
.section .data.exo_entry_ticks, "aw", @progbits
.globl exo_entry_ticks
.balign 8
exo_entry_ticks: .quad 0

// Which contract the image was built for. The linker keeps notes, and puts them in a PT_NOTE.
.section .note.exo, "a", @note
  .balign 4
  .long 2f - 1f, 4f - 3f, EXO_NOTE_ABI
1: .asciz EXO_NOTE_NAME
2: .balign 4
3: .long EXO_ABI_VERSION
4:

.section .note.GNU-stack, "", @progbits
