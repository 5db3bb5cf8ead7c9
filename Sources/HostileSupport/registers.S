// Filling every register an environment can reach, and looking at all of them.
#include "exo_abi.h"
#define EXO_FEATURE_AVX_BIT 0
#define EXO_FEATURE_AVX512_BIT 2
#define EXO_FEATURE_FSGSBASE_BIT 3
#define FEATURES 96  // of struct exo_start
#define AREA 512     // of struct hostile_mailbox

.section .text.hostile_registers, "ax", @progbits

// RDI: the start page. RSI: how to end.
.globl hostile_dirty
.type hostile_dirty, @function
hostile_dirty:
  mov FEATURES(%rdi), %r8
  // The last act needs no register: `exit`, the first submission, all but its number.
  movabs $EXO_KIT_SUBMISSION, %r9
  movl $1, 48(%r9)  // call: exit
  movq $0, 8(%r9)   // status
  movabs $0xd1e7d1e7d1e7d1e7, %rax
  bt $EXO_FEATURE_FSGSBASE_BIT, %r8
  jnc 1f
  movabs $0x0000123456789000, %rcx
  wrfsbase %rcx
  wrgsbase %rcx
1:
  .rept 7
    fldpi
  .endr
  pushq $0x0f7f
  fldcw (%rsp)
  movl $0xffc0, (%rsp)  // flush to zero, denormals are zero, rounding
  ldmxcsr (%rsp)
  add $8, %rsp
  bt $EXO_FEATURE_AVX512_BIT, %r8
  jc wide
  bt $EXO_FEATURE_AVX_BIT, %r8
  jc middle
  .irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movq %rax, %xmm\i
  .endr
  jmp filled
middle:
  vmovq %rax, %xmm0
  vpbroadcastq %xmm0, %ymm0
  .irp i, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vmovdqa %ymm0, %ymm\i
  .endr
  jmp filled
wide:
  .irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    vpbroadcastq %rax, %zmm\i
  .endr
  .irp i, 0,1,2,3,4,5,6,7
    kmovw %eax, %k\i
  .endr
filled:
  movabs $EXO_KIT_DOORBELL, %rdx
  lea ends(%rip), %rcx
  cmp $7, %rsi
  jae 1f
  mov (%rcx,%rsi,8), %rcx
  push $0x240ed5  // ID, AC, OF, DF, IF, SF, ZF, AF, PF, CF
  popfq
  .irp r, rbx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    mov %rax, %\r
  .endr
  jmp *%rcx
1: ud2

end_exit:
  movl $1, EXO_KIT_SUBMISSION-EXO_KIT_DOORBELL+60(%rdx)
  movl %eax, EXO_DOORBELL_WAKE(%rdx)
  movl %eax, EXO_DOORBELL_SERVE(%rdx)
  jmp end_exit
end_fault:
  ud2
// Each leaves the processor in the middle of an instruction: KVM finishes it when it next runs this vCPU.
end_load:
  mov 0x40(%rdx), %rcx
  ud2
end_wide_store:
  movups %xmm0, 0x40(%rdx)
  ud2
end_locked:
  lock xadd %rcx, 0x40(%rdx)
  ud2
end_string:
  cld
  lea 0x40(%rdx), %rsi
  lea -2048(%rsp), %rdi
  mov $8, %ecx
  rep movsq
  ud2
end_spin:
  pause
  jmp end_spin

// RDI: the start page. RSI: a mailbox.
.globl hostile_dump
.type hostile_dump, @function
hostile_dump:
  mov %rax, AREA+0*8(%rsi)
  mov %rbx, AREA+1*8(%rsi)
  mov %rcx, AREA+2*8(%rsi)
  mov %rdx, AREA+3*8(%rsi)
  mov %rsi, AREA+4*8(%rsi)
  mov %rdi, AREA+5*8(%rsi)
  mov %rbp, AREA+6*8(%rsi)
  mov %rsp, AREA+7*8(%rsi)
  .irp i, 8, 9, 10, 11, 12, 13, 14, 15
    mov %r\i, AREA+\i*8(%rsi)
  .endr
  pushfq
  pop AREA+128(%rsi)
  cld
  mov FEATURES(%rdi), %r8
  bt $EXO_FEATURE_FSGSBASE_BIT, %r8
  jnc 1f
  rdfsbase %rax
  mov %rax, AREA+136(%rsi)
  rdgsbase %rax
  mov %rax, AREA+144(%rsi)
1:
  mov %ds, AREA+152(%rsi)
  mov %es, AREA+154(%rsi)
  mov %fs, AREA+156(%rsi)
  mov %gs, AREA+158(%rsi)
  fxsave64 AREA+256(%rsi)
  bt $EXO_FEATURE_AVX512_BIT, %r8
  jc 2f
  bt $EXO_FEATURE_AVX_BIT, %r8
  jnc 3f
  .irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vmovdqu %ymm\i, AREA+768+\i*64(%rsi)
  .endr
  jmp 3f
2:
  .irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    vmovdqu64 %zmm\i, AREA+768+\i*64(%rsi)
  .endr
  .irp i, 0,1,2,3,4,5,6,7
    kmovw %k\i, %eax
    mov %rax, AREA+160+\i*8(%rsi)
  .endr
3:
  movq $1, (%rsi)
  xor %esi, %esi
  jmp hostile_exit

.section .rodata.hostile_registers, "a", @progbits
.balign 8
ends: .quad end_exit, end_fault, end_load, end_wide_store, end_locked, end_string, end_spin

.section .note.GNU-stack, "", @progbits
