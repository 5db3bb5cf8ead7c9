// Loops that time themselves: the count in RDI, the ticks back in RAX. RSI is a read-only page.
.macro function name
  .globl bench_\name
  .type bench_\name, @function
  bench_\name:
.endm
.macro begin
  rdtsc
  shl $32, %rdx
  lea (%rax, %rdx), %r8
  1:
.endm
.macro finish
  dec %rdi
  jnz 1b
  rdtsc
  shl $32, %rdx
  or %rdx, %rax
  sub %r8, %rax
.endm

.text
.balign 64
function loop_call
  begin
  call 2f
  finish
2: ret

function raise_de
  xor %ecx, %ecx
  begin
  div %ecx
  finish
  ret
function raise_bp
  begin
  int3
  finish
  ret
function raise_ud
  begin
  ud2
  finish
  ret
function raise_gp  // a non-canonical address
  movabs $0x8000000000000000, %rcx
  begin
  mov (%rcx), %eax
  finish
  ret
function raise_pf
  begin
  mov %rcx, (%rsi)
  finish
  ret
function raise_ac  // with EFLAGS.AC
  pushf
  pushf
  orl $0x40000, (%rsp)
  popf
  begin
  mov 1(%rsi), %eax
  finish
  popf
  ret
function raise_xm  // a product too large, with that exception unmasked
  sub $8, %rsp
  stmxcsr (%rsp)
  ldmxcsr unmasked(%rip)
  movsd huge(%rip), %xmm0
  movsd huge(%rip), %xmm1
  begin
  mulsd %xmm0, %xmm1
  finish
  movq %xmm1, %rcx
  cmp huge(%rip), %rcx
  je 2f
  xor %eax, %eax  // carried out: this processor raises nothing
2: ldmxcsr (%rsp)
  add $8, %rsp
  ret

// Handlers, entered by direct gates on a stack of their own; RSP is at the frame, or at the error code, or at the
// address the nucleus left below it.
.balign 16
function resume
  iretq
function resume_skip2
  addq $2, (%rsp)
  iretq
function resume_skip4
  addq $4, (%rsp)
  iretq
function resume_code_skip2
  add $8, %rsp
  addq $2, (%rsp)
  iretq
function resume_code_skip3
  add $8, %rsp
  addq $3, (%rsp)
  iretq
function resume_address_skip3
  add $16, %rsp
  addq $3, (%rsp)
  iretq

.section .rodata
.balign 8
huge: .double 1e308
unmasked: .long 0x1f80 & ~0x400
.section .note.GNU-stack, "", @progbits
