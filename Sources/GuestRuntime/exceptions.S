// Entries of exception handlers written in a higher language. A direct gate has brought the processor here at
// ring 3, on the stack of the vector's class; each entry makes the frame uniform and the rest is common.
#include "exo_abi.h"

// What the handler gets is struct exo_exception_frame, lowest address first: FXSAVE area, padding, R15 ... RAX,
// vector, address, error code and what the processor pushed. With the stack's top a multiple of 16 the frame is too,
// as FXSAVE and the calling convention want it. RBP still is the interrupted code's: backtraces go on there.
#define FXSAVE_SIZE 512

.macro entry vector, pushes, suffix=
  .globl exo_exception_entry_\vector\suffix
  .type exo_exception_entry_\vector\suffix, @function
exo_exception_entry_\vector\suffix:
  .rept \pushes
    push $0
  .endr
  push $\vector
  jmp exo_exception_common
  .size exo_exception_entry_\vector\suffix, . - exo_exception_entry_\vector\suffix
.endm

.section .text.exo_exceptions, "ax", @progbits
.irp vector, 0, 1, 3, 4, 5, 6, 7, 16, 19
  entry \vector, 2  // neither error code nor address
.endr
.irp vector, 10, 11, 12, 13, 17
  entry \vector, 1  // no address
.endr
entry 14, 0  // bound with the address wanted
entry 14, 1, _direct  // bound without
entry 32, 2  // EXO_EVENT_VECTOR: events, delivered by the exokernel as an interrupt would be

.type exo_exception_common, @function
exo_exception_common:
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
  sub $(FXSAVE_SIZE + 8), %rsp
  fxsave64 (%rsp)
  // The interrupted code's settings are not the handler's: no single-step, alignment check or backwards
  // strings, no pending or unmasked floating-point exception.
  push $0x202
  popfq
  fninit
  push $0x1f80
  ldmxcsr (%rsp)
  pop %rdi
  mov %rsp, %rdi
  call exo_guest_exception
  fxrstor64 (%rsp)
  add $(FXSAVE_SIZE + 8), %rsp
  cmpq $EXO_EVENT_VECTOR, 120(%rsp)
  je exo_event_return
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
  add $24, %rsp  // vector, address, error code
  // A processor may leave a null SS behind a delivery through an interrupt stack. Code interrupted in a handler would
  // have it in its frame, and ring 3 cannot return to it.
  movq $EXO_USER_SS, 32(%rsp)
  iretq
.size exo_exception_common, . - exo_exception_common

// An event arrived on a stack that the next one starts at the top of, so the soft mask may only be cleared once nothing
// here is needed any more: what is left to restore moves to the interrupted stack, below a red zone. Events that came
// while the mask was set find nobody to deliver them: one exit has the exokernel look again.
//
// From RSP: R15 ... RAX at 0 ... 112, vector, address, error code, RIP at 144, CS, RFLAGS at 160, RSP at 168, SS.
#define RED_ZONE 128
.type exo_event_return, @function
exo_event_return:
  mov 168(%rsp), %rax
  mov 144(%rsp), %rcx
  mov %rcx, -(RED_ZONE + 8)(%rax)
  mov 160(%rsp), %rcx
  mov %rcx, -(RED_ZONE + 16)(%rax)
  mov 112(%rsp), %rcx
  mov %rcx, -(RED_ZONE + 24)(%rax)  // RAX
  mov 96(%rsp), %rcx
  mov %rcx, -(RED_ZONE + 32)(%rax)  // RCX
  sub $(RED_ZONE + 32), %rax
  mov %rax, 168(%rsp)
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
  add $8, %rsp
  pop %rbx
  mov 56(%rsp), %rsp
  mov exo_event_control(%rip), %rax
  movl $0, (%rax)
  mov 4(%rax), %ecx
  mov exo_event_page(%rip), %rax
  cmp %ecx, (%rax)
  je 1f
  mov exo_event_doorbell(%rip), %rax
  movl $0, EXO_DOORBELL_SERVE(%rax)
1:
  pop %rcx
  pop %rax
  popfq
  ret $RED_ZONE
.size exo_event_return, . - exo_event_return

// Entry of each vector, by number; zero where an environment can bind none.
.section .rodata.exo_exceptions, "a", @progbits
.balign 8
.globl exo_exception_entries
exo_exception_entries:
.macro slot vector
  .quad exo_exception_entry_\vector
.endm
.irp vector, 0, 1
  slot \vector
.endr
  .quad 0  // NMI
.irp vector, 3, 4, 5, 6, 7
  slot \vector
.endr
  .quad 0, 0  // #DF, reserved
.irp vector, 10, 11, 12, 13, 14
  slot \vector
.endr
  .quad 0  // reserved
.irp vector, 16, 17
  slot \vector
.endr
  .quad 0  // #MC
  slot 19
  .fill 12, 8, 0
.size exo_exception_entries, . - exo_exception_entries

.section .note.GNU-stack, "", @progbits
