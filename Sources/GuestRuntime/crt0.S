// Entry: RDI holds the address of struct exo_start, RSP the top of a stack, 16-byte aligned.
#include "exo_abi.h"

.section .text._start, "ax", @progbits
.globl _start
.type _start, @function
_start:
  .cfi_startproc
  .cfi_undefined rip
  mov %rax, entered_by(%rip)
  mov %r12, entered_for(%rip)
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

// Where an environment of its maker's own image begins.
.section .text.exo_child_start, "ax", @progbits
.weak exo_child_begin
.globl exo_child_start
.type exo_child_start, @function
exo_child_start:
  mov %rax, entered_by(%rip)
  mov %r12, entered_for(%rip)
  jmp exo_child_begin
.size exo_child_start, . - exo_child_start

// void exo_return_to_maker(uint32_t status): where a transfer of its maker's began this environment, goes back there with the status.
// Returns if none did, or if nobody waits for it there any more.
.section .text.exo_return_to_maker, "ax", @progbits
.globl exo_return_to_maker
.type exo_return_to_maker, @function
exo_return_to_maker:
  mov entered_by(%rip), %rax
  test %rax, %rax
  jz 1f
  movq $0, entered_by(%rip)
  push %rbx
  push %r12
  mov entered_for(%rip), %r12
  xor %ebx, %ebx
  // From a connection's number in what the nucleus says to its slot.
  shr $(EXO_TRANSFER_NUMBER_SHIFT), %eax
  and $(EXO_CONNECTIONS - 1), %eax
  shl $3, %eax
  int $4
  pop %r12
  pop %rbx
1: ret
.size exo_return_to_maker, . - exo_return_to_maker

// void exo_forget_maker(void): for a copy of an environment that was begun so.
.globl exo_forget_maker
.type exo_forget_maker, @function
exo_forget_maker:
  movq $0, entered_by(%rip)
  ret
.size exo_forget_maker, . - exo_forget_maker

// What a transfer said and asked at the entry; 0 for one that was started.
.section .bss.entered, "aw", @nobits
.balign 8
entered_by: .quad 0
entered_for: .quad 0

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
