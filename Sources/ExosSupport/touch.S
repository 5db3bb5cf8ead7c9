// Ways of touching memory. RDI holds the start of a page, the page before which may always be accessed.

// EXO_FEATURE_* (exo_abi.h has them for C only).
#define EXO_FEATURE_AVX 1
#define EXO_FEATURE_AVX2 2
#define EXO_FEATURE_AVX512 4

.macro touch name, text, offset=0, features=0, write=0
  .section .rodata.exos_touch_names, "a", @progbits
9: .asciz "\text"
  .section .data.exos_touches, "aw", @progbits
  .quad exos_touch_\name, 9b, \offset
  .long \features, \write
  .section .text.exos_touch, "ax", @progbits
exos_touch_\name:
.endm

  .section .data.exos_touches, "aw", @progbits
  .balign 8
  .globl exos_touches
exos_touches:

touch load, "mov (%rdi), %rax"
  mov (%rdi), %rax
  ret
touch store, "mov %eax, 24(%rdi)", 24, 0, 1
  mov %eax, 24(%rdi)
  ret
touch immediate, "movq $-1, 0x400(%rdi)", 0x400, 0, 1
  movq $-1, 0x400(%rdi)
  ret
touch modify, "add %cl, (%rdi)", 0, 0, 1
  add %cl, (%rdi)
  ret
touch indexed, "mov 8(%rcx,%rdx,8), %eax", 8
  lea -64(%rdi), %rcx
  mov $8, %edx
  mov 8(%rcx,%rdx,8), %eax
  ret
touch extended, "mov %r10b, -16(%r9,%r8,4)", 0, 0, 1
  lea 16-0x4000(%rdi), %r9
  mov $0x1000, %r8d
  mov %r10b, -16(%r9,%r8,4)
  ret
touch straddle, "mov %rax, -4(%rdi)", 0, 0, 1
  mov %rax, -4(%rdi)
  ret
touch straddle_load, "movups -8(%rdi), %xmm0"
  movups -8(%rdi), %xmm0
  ret
touch push_operand, "push 8(%rdi)", 8
  push 8(%rdi)
  pop %rax
  ret
touch pop_operand, "pop 16(%rdi)", 16, 0, 1
  push $7
  pop 16(%rdi)
  ret
touch push, "push $7, the stack there", 0, 0, 1
  mov %rsp, %r11
  lea 8(%rdi), %rsp
  push $7
  mov %r11, %rsp
  ret
touch call, "call, the stack there", 8, 0, 1
  mov %rsp, %r11
  lea 16(%rdi), %rsp
  call 1f
1:mov %r11, %rsp
  ret
touch stos, "rep stosb", 0, 0, 1
  xor %eax, %eax
  mov $64, %ecx
  lea -32(%rdi), %rdi
  rep stosb
  ret
touch movs_from, "movsq, from there"
  mov %rdi, %rsi
  lea -64(%rdi), %rdi
  movsq
  ret
touch movs_to, "movsq, to there", 0, 0, 1
  lea -64(%rdi), %rsi
  movsq
  ret
touch scas, "repne scasb"
  mov $1, %eax
  mov $16, %ecx
  sub $8, %rdi
  repne scasb
  ret
touch xlat, "xlat"
  mov %rbx, %r11
  lea -5(%rdi), %rbx
  mov $5, %eax
  xlat
  mov %r11, %rbx
  ret
touch bits, "bts %rcx, (%rdx)", 0, 0, 1
  lea -64(%rdi), %rdx
  mov $512, %ecx
  bts %rcx, (%rdx)
  ret
touch exchange, "lock cmpxchg %rdx, (%rdi)", 0, 0, 1
  lock cmpxchg %rdx, (%rdi)
  ret
touch wide_exchange, "lock cmpxchg16b (%rdi)", 0, 0, 1
  mov %rbx, %r11
  lock cmpxchg16b (%rdi)
  mov %r11, %rbx
  ret
touch floating, "fldl 32(%rdi)", 32
  fldl 32(%rdi)
  fstp %st(0)
  ret
touch floating_store, "fstpt 16(%rdi)", 16, 0, 1
  fldz
  fstpt 16(%rdi)
  ret
touch sse, "addps (%rdi), %xmm1"
  addps (%rdi), %xmm1
  ret
touch sse_store, "movdqu %xmm1, 1(%rdi)", 1, 0, 1
  movdqu %xmm1, 1(%rdi)
  ret
touch masked_bytes, "maskmovdqu %xmm1, %xmm0", 0, 0, 1
  pcmpeqd %xmm0, %xmm0
  maskmovdqu %xmm0, %xmm0
  ret
touch avx, "vmovups %ymm0, 64(%rdi)", 64, EXO_FEATURE_AVX, 1
  vmovups %ymm0, 64(%rdi)
  vzeroupper
  ret
touch gather, "vgatherdps %xmm2, (%rdi,%xmm1,4), %xmm0", 0, EXO_FEATURE_AVX2
  vpxor %xmm1, %xmm1, %xmm1
  vpcmpeqd %xmm2, %xmm2, %xmm2
  vgatherdps %xmm2, (%rdi,%xmm1,4), %xmm0
  ret
touch wide_gather, "vgatherdps %ymm2, (%rdi,%ymm1,4), %ymm0", 0, EXO_FEATURE_AVX2
  vpxor %ymm1, %ymm1, %ymm1
  vpcmpeqd %ymm2, %ymm2, %ymm2
  vgatherdps %ymm2, (%rdi,%ymm1,4), %ymm0
  vzeroupper
  ret
touch masked, "vmaskmovps (%rdi), %ymm1, %ymm0", 0, EXO_FEATURE_AVX
  vxorps %xmm0, %xmm0, %xmm0
  vcmpeqps %ymm0, %ymm0, %ymm1
  vmaskmovps (%rdi), %ymm1, %ymm0
  vzeroupper
  ret
touch broadcast, "vpaddd 4(%rdi){1to16}, %zmm1, %zmm0", 4, EXO_FEATURE_AVX512
  vpaddd 4(%rdi){1to16}, %zmm1, %zmm0
  vzeroupper
  ret
touch short_displacement, "vmovdqu64 %zmm0, 128(%rdi)", 128, EXO_FEATURE_AVX512, 1
  vmovdqu64 %zmm0, 128(%rdi)
  vzeroupper
  ret

  .section .data.exos_touches, "aw", @progbits
exos_touches_end:
  .section .rodata.exos_touch_count, "a", @progbits
  .globl exos_touch_count
  .balign 4
exos_touch_count: .long (exos_touches_end - exos_touches) / 32

.section .note.GNU-stack, "", @progbits
