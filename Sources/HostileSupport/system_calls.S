// SYSCALL as a program would make it, and a handler that writes down what it gets.
#include "exo_abi.h"

// struct hostile_system_call
#define NUMBER 0
#define FLAGS 8
#define COUNT 16
#define RAX 24
#define RCX 32
#define R11 40
#define STACK 48
#define RSP 56
#define AFTER 64
#define CS 72
#define INSIDE 80
#define OTHERS 88

.section .text.hostile_system_calls, "ax", @progbits

// RDI: struct hostile_system_call. RBX, RBP, R12 to R15 hold marks that the handler looks for.
.globl hostile_make_system_call
.type hostile_make_system_call, @function
hostile_make_system_call:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  mov %rsp, STACK(%rdi)
  lea 1f(%rip), %rax
  mov %rax, AFTER(%rdi)
  mov $0x1111, %ebx
  mov $0x2222, %ebp
  mov $0x3333, %r12d
  mov $0x4444, %r13d
  mov $0x5555, %r14d
  mov NUMBER(%rdi), %rax
  pushq FLAGS(%rdi)
  popfq
  syscall
1:
  push $0x202
  popfq
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
.size hostile_make_system_call, . - hostile_make_system_call

.globl hostile_system_call_handler
.type hostile_system_call_handler, @function
hostile_system_call_handler:
  lea 1f(%rip), %rax
  ret
1:
  mov %rax, RAX(%rdi)
  mov %rcx, RCX(%rdi)
  mov %r11, R11(%rdi)
  mov %rsp, RSP(%rdi)
  pushfq
  pop %rax
  mov %rax, INSIDE(%rdi)
  mov %cs, %eax
  mov %rax, CS(%rdi)
  incq COUNT(%rdi)
  xor %edx, %edx
  cmp $0x1111, %rbx
  sete %dl
  mov %edx, %eax
.macro look register, mark, bit
  xor %edx, %edx
  cmp $\mark, \register
  sete %dl
  shl $\bit, %edx
  or %edx, %eax
.endm
  look %rbp, 0x2222, 1
  look %r12, 0x3333, 2
  look %r13, 0x4444, 3
  look %r14, 0x5555, 4
  mov %rax, OTHERS(%rdi)
  jmp *%rcx
.size hostile_system_call_handler, . - hostile_system_call_handler

// A child's: RSI says how the nucleus is to be made to fault.
.globl hostile_fault_nucleus
.type hostile_fault_nucleus, @function
hostile_fault_nucleus:
  cmp $1, %rsi
  jb no_table
  je stack_of_ring_0
  cmp $3, %rsi
  jb absent_stack
  je read_only_window
  cmp $5, %rsi
  jb no_address
  je user_half_end
  ud2
.macro protect address
  movabs $\address, %rdi
  movabs $0x8000000000000201, %rsi  // present, and granted to be read: nothing that the nucleus would refuse
  mov %rsi, %rdx
  mov $EXO_NUCLEUS_CALL_PROTECT, %rax
  syscall
  ud2
.endm
no_table: protect 0x612345678000
read_only_window: protect EXO_KIT_TABLES
no_address: protect 0xfffffffffffff000
user_half_end: protect 0x7ffffffff000
.macro stack selector
  movabs $EXO_NUCLEUS_SCRATCH, %rdi
  movq $\selector, 8(%rdi)
  xor %eax, %eax
  syscall
  ud2
.endm
stack_of_ring_0: stack EXO_NUCLEUS_SS
absent_stack: stack EXO_ABSENT_SELECTOR
.size hostile_fault_nucleus, . - hostile_fault_nucleus

.section .note.GNU-stack, "", @progbits
