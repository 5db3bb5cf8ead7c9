// Odd flags, segments, and instructions that lead into other rings or modes.
#include "exo_abi.h"

.section .text.hostile_states, "ax", @progbits

.macro function name
  .globl \name
  .type \name, @function
  .balign 16
\name:
.endm

function hostile_popf
  pushq (%rdi)
  popfq
  pushfq
  pop %rax
  push $0x202
  popfq
  mov %rax, 8(%rdi)
  ret

function hostile_misaligned
  pushq (%rdi)
  popfq
  mov 1(%rdi), %rax
  push $0x202
  popfq
  ret

function hostile_iret
  mov %rsp, %rdx
  mov 32(%rdi), %rax
  push %rax
  mov 24(%rdi), %rax
  test %rax, %rax
  cmovz %rdx, %rax
  push %rax
  push 16(%rdi)
  push 8(%rdi)
  lea 1f(%rip), %rcx
  mov (%rdi), %rax
  test %rax, %rax
  cmovz %rcx, %rax
  push %rax
  iretq
1:
  pushfq
  pop %rax
  mov %rax, 48(%rdi)
  mov %cs, %eax
  mov %rax, 40(%rdi)
  mov %rdx, %rsp
  push $0x202
  popfq
  ret

// The same while NT says that this is a nested task.
function hostile_iret_nested
  push $0x4202
  popfq
  jmp hostile_iret

// Leaves the processor through the doorbell with these flags set.
function hostile_leave_with_flags
  movabs $EXO_KIT_DOORBELL, %rax
  pushq (%rdi)
  popfq
  movl $1, EXO_DOORBELL_SERVE(%rax)
  push $0x202
  popfq
  ret

function hostile_far_return
  mov %rsp, %rdx
  lea 1f(%rip), %rax
  push %rdi
  push %rax
  lretq
1:
  mov %rdx, %rsp
  ret

function hostile_load_ds
  mov %edi, %ds
  ret
function hostile_load_es
  mov %edi, %es
  ret
function hostile_load_fs
  mov %edi, %fs
  ret
function hostile_load_gs
  mov %edi, %gs
  ret
function hostile_load_ss
  mov %edi, %ss
  ret
function hostile_restore_segments
  mov $0x2b, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %fs
  mov %eax, %gs
  mov %eax, %ss
  ret

function hostile_interrupt
  lea interrupts(%rip), %rax
  mov %edi, %edi
  lea (%rax,%rdi,4), %rax
  ret
.balign 4
interrupts:
.set number, 0
.rept 256
  .byte 0xcd, number, 0xc3, 0xcc
  .set number, number + 1
.endr

.macro load_registers
  mov %rdi, %r11
  mov (%r11), %rax
  mov 16(%r11), %rsi
  mov 24(%r11), %rdx
  mov 32(%r11), %r10
  mov 40(%r11), %rsp
  mov 8(%r11), %rdi
.endm
// Neither comes back but by an exception: the stack is gone.
function hostile_syscall
  load_registers
  syscall
  ud2
function hostile_sysenter
  load_registers
  mov %rsp, %rcx
  sysenter
  ud2

function hostile_write_fs_base
  wrfsbase %rdi
  ret
function hostile_write_gs_base
  wrgsbase %rdi
  ret

function hostile_port_read
  mov %edi, %edx
  in %dx, %al
  ret
function hostile_port_write
  mov %edi, %edx
  xor %eax, %eax
  out %al, %dx
  ret

function hostile_compatibility_code
  cmp $5, %edi
  jae 1f
  lea starts(%rip), %rax
  mov (%rax,%rdi,8), %rax
  ret
1: xor %eax, %eax
  ret

.code32
invalid_32:
  ud2
halt_32:
  hlt
  ud2
load_32:
  mov 0xfffff000, %eax
  ud2
far_jump_32:
  ljmp $0x10, $0
  ud2
spin_32:
  mov $0x20000, %ecx
1: dec %ecx
  jnz 1b
  ud2
.code64

.section .rodata.hostile_states, "a", @progbits
.balign 8
starts: .quad invalid_32, halt_32, load_32, far_jump_32, spin_32

.section .note.GNU-stack, "", @progbits
