// Holds a pattern in every register for a while and counts what came back changed: whoever interrupts must leave all alone.
// uint64_t exos_hold_registers(uint64_t seed, uint64_t turns, uint64_t features)
#define FEATURE_AVX_BIT 0
#define FEATURE_AVX512_BIT 2

.section .text.exos_hold_registers, "ax", @progbits
.globl exos_hold_registers
.type exos_hold_registers, @function
exos_hold_registers:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  sub $24, %rsp
  mov %rdi, (%rsp)
  mov %rdx, 8(%rsp)
  mov %rsi, 16(%rsp)
  .irp register, rax, rbx, rdx, rsi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    mov %rdi, %\register
  .endr
  btl $FEATURE_AVX_BIT, 8(%rsp)
  jnc 1f
  vmovq %rdi, %xmm15
  vpunpcklqdq %xmm15, %xmm15, %xmm15
  vinsertf128 $1, %xmm15, %ymm15, %ymm15
  vmovaps %ymm15, %ymm3
1:btl $FEATURE_AVX512_BIT, 8(%rsp)
  jnc 2f
  vpbroadcastq %rdi, %zmm3
  vpbroadcastq %rdi, %zmm31
  kmovw %edi, %k5
2:movq %rdi, %xmm1
  mov 16(%rsp), %rcx
3:pause
  dec %rcx
  jnz 3b
  .irp register, rax, rbx, rdx, rsi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    cmp (%rsp), %\register
    setne %cl
    movzx %cl, %ecx
    add %rcx, %rdi
  .endr
  sub (%rsp), %rdi  // how many differ
  movq %xmm1, %rax
  cmp (%rsp), %rax
  je 4f
  inc %rdi
4:btl $FEATURE_AVX_BIT, 8(%rsp)
  jnc 5f
  vextractf128 $1, %ymm15, %xmm2
  vmovq %xmm2, %rax
  cmp (%rsp), %rax
  je 5f
  inc %rdi
5:btl $FEATURE_AVX512_BIT, 8(%rsp)
  jnc 6f
  vextracti64x4 $1, %zmm3, %ymm2
  vmovq %xmm2, %rax
  cmp (%rsp), %rax
  jne 7f
  vextracti64x4 $1, %zmm31, %ymm2
  vmovq %xmm2, %rax
  cmp (%rsp), %rax
  jne 7f
  kmovw %k5, %eax
  movzwl (%rsp), %ecx
  cmp %ecx, %eax
  je 6f
7:inc %rdi
6:mov %rdi, %rax
  btl $FEATURE_AVX_BIT, 8(%rsp)
  jnc 8f
  vzeroupper
8:add $24, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
.size exos_hold_registers, . - exos_hold_registers

.section .note.GNU-stack, "", @progbits
