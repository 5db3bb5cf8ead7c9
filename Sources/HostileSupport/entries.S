// Each way into the nucleus, and each gate past it, with flags of the caller's choice; and model-specific registers.
#include "exo_abi.h"

// struct hostile_way
#define FLAGS 0
#define RAX 8
#define RDI_ 16
#define RSI_ 24
#define RDX_ 32
#define AFTER 40
#define RESULT 48

.section .text.hostile_entries, "ax", @progbits

.macro function name
  .globl \name
  .type \name, @function
  .balign 16
\name:
.endm

function hostile_enter_by_system_call
  push %rbx
  mov %rdi, %rbx
  mov RAX(%rbx), %rax
  mov RDI_(%rbx), %rdi
  mov RSI_(%rbx), %rsi
  mov RDX_(%rbx), %rdx
  pushq FLAGS(%rbx)
  popfq
  syscall
  pushfq
  popq AFTER(%rbx)
  push $0x202
  popfq
  mov %rax, RESULT(%rbx)
  pop %rbx
  ret

// RAX is not a connection's number: the transfer leads back to the entry. A processor may have left a null SS behind the direct gate
// of the attempt before, and nobody could return by that.
function hostile_enter_by_transfer
  mov $EXO_USER_SS, %ecx
  mov %ecx, %ss
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rdi, %rbx
  mov %rsp, saved(%rip)
  mov RAX(%rbx), %rax
  pushq FLAGS(%rbx)
  popfq
  int $4
function hostile_noting_entry
  mov %rax, RESULT(%rbx)
  mov saved(%rip), %rsp
  pushfq
  popq AFTER(%rbx)
  push $0x202
  popfq
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret

.macro raise name, code:vararg
function hostile_raise_\name
  pushq FLAGS(%rdi)
  popfq
  \code
  push $0x202
  popfq
  ret
.endm
raise divide, divl zero(%rip)
raise breakpoint, int3
raise invalid, ud2
raise privileged, hlt
raise fault, mov 0x128, %rax

// The next instruction is not to be interrupted after this one: a trap that is due comes in whatever ring it has led to.
function hostile_raise_in_shadow
  mov %ss, %ecx
  mov RAX(%rdi), %rax
  cmpq $1, RDX_(%rdi)
  jb 1f
  je 2f
  pushq FLAGS(%rdi)
  popfq
  mov %ecx, %ss
  int $4
  ud2
1:
  pushq FLAGS(%rdi)
  popfq
  mov %ecx, %ss
  syscall
  ud2
2:
  pushq FLAGS(%rdi)
  popfq
  mov %ecx, %ss
  int3
  ud2

function hostile_read_register
  mov %edi, %ecx
  rdmsr
  ret
// RDI: {index, value}.
function hostile_write_register
  mov (%rdi), %ecx
  mov 8(%rdi), %eax
  mov 12(%rdi), %edx
  wrmsr
  ret
// The forms that came later: WRMSRNS, RDMSRLIST, WRMSRLIST.
function hostile_write_register_late
  mov (%rdi), %ecx
  mov 8(%rdi), %eax
  mov 12(%rdi), %edx
  .byte 0x0f, 0x01, 0xc6
  ret
function hostile_read_register_list
  mov %rdi, %rsi
  mov $1, %ecx
  .byte 0xf2, 0x0f, 0x01, 0xc6
  ret
function hostile_write_register_list
  mov %rdi, %rsi
  mov $1, %ecx
  .byte 0xf3, 0x0f, 0x01, 0xc6
  ret

.section .data.hostile_entries, "aw", @progbits
.balign 8
saved: .quad 0
zero: .quad 0
.section .note.GNU-stack, "", @progbits
