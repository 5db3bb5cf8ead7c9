// Entry: RDI holds the address of struct exo_start, RSP the top of a stack, 16-byte aligned.
#include "exo_abi.h"

.section .text._start, "ax", @progbits
.globl _start
.type _start, @function
_start:
  .cfi_startproc
  .cfi_undefined rip
  xor %ebp, %ebp  // a backtrace ends here
  call exo_guest_begin
  xor %edi, %edi
  xor %esi, %esi
  call main
  mov %eax, %edi
  call exo_guest_end
  ud2
  .cfi_endproc
.size _start, . - _start

// Which contract the image was built for. The linker keeps notes, and puts them in a PT_NOTE.
.section .note.exo, "a", @note
  .balign 4
  .long 2f - 1f, 4f - 3f, EXO_NOTE_ABI
1: .asciz EXO_NOTE_NAME
2: .balign 4
3: .long EXO_ABI_VERSION
4:

.section .note.GNU-stack, "", @progbits
