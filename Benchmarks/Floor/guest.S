// The guest's whole code: ring-3 loops, ring-3 handlers, ring-0 stubs. It is data to the host, which copies it to
// PAGE_CODE and PAGE_STUBS.
//
// A loop gets its count in RBX, leaves the ticks it took in RESULT_TICKS and ends with a store to PAGE_EXIT. What
// it measures is between its own two readings of the clock: entering and leaving the guest is no part of it.
#include "layout.h"

.macro entry name
  .globl floor_\name
  floor_\name:
.endm
.macro ticks into
  rdtsc
  shl $32, %rdx
  lea (%rax, %rdx), \into
.endm
.macro begin
  ticks %r15
  1:
.endm
.macro repeat
  dec %rbx
  jnz 1b
.endm
.macro finish
  ticks %rax
  sub %r15, %rax
  mov %rax, RESULT_TICKS
  movl $1, PAGE_EXIT
  9: jmp 9b
.endm
// For loops that time only part of each round: the part's ticks go to R15.
.macro part_begin
  ticks %r14
.endm
.macro part_end
  ticks %rax
  sub %r14, %rax
  add %rax, %r15
.endm
.macro finish_parts
  mov %r15, RESULT_TICKS
  movl $1, PAGE_EXIT
  9: jmp 9b
.endm

.section .rodata
.balign 64
entry code_start

// --- Calls
entry procedure_call
  begin
  call 2f
  repeat
  finish
2: ret

entry clock
  begin
  rdtsc
  repeat
  finish

// One request in flight: one line each way.
entry exocall
  xor %ecx, %ecx
  begin
  inc %ecx
  mov %ecx, PAGE_SUBMIT + SEQUENCE_OFFSET
2: cmp %ecx, PAGE_COMPLETE + SEQUENCE_OFFSET
  jne 2b
  repeat
  finish

// 32 requests, then 32 answers, each in its own line. RBX counts batches.
entry exocall_batch32
  xor %ecx, %ecx
  begin
  mov $PAGE_SUBMIT + SEQUENCE_OFFSET, %rsi
  mov $PAGE_COMPLETE + SEQUENCE_OFFSET, %rdi
  mov %ecx, %r8d
  mov $32, %r9d
2: inc %ecx
  mov %ecx, (%rsi)
  add $64, %rsi
  dec %r9d
  jnz 2b
3: inc %r8d
4: cmp %r8d, (%rdi)
  jne 4b
  add $64, %rdi
  cmp %ecx, %r8d
  jne 3b
  repeat
  finish

// --- Exceptions: the instruction that raises, and the handlers that step over it. RSI is a read-only page.
entry exception_de
  xor %ecx, %ecx
  begin
  div %ecx
  repeat
  finish
entry exception_bp
  begin
  int3
  repeat
  finish
entry exception_gp  // a non-canonical address
  movabs $0x8000000000000000, %rcx
  begin
  mov (%rcx), %eax
  repeat
  finish
entry exception_ud
  begin
  ud2
  repeat
  finish
entry exception_pf
  mov $PAGE_READONLY, %rsi
  begin
  mov %rcx, (%rsi)
  repeat
  finish
entry exception_fp_overflow  // a product too large, with that exception unmasked
  ldmxcsr unmasked(%rip)
  movsd huge(%rip), %xmm0
  movsd huge(%rip), %xmm1
  begin
  mulsd %xmm0, %xmm1
  repeat
  finish
entry exception_unaligned
  mov $PAGE_RESULT, %rsi
  pushf
  orl $0x40000, (%rsp)
  popf
  begin
  mov 1(%rsi), %eax
  repeat
  finish
.balign 8
huge: .double 1e308
unmasked: .long 0x1f80 & ~0x400

entry resume
  iretq
entry resume_skip2
  addq $2, (%rsp)
  iretq
entry resume_skip4
  addq $4, (%rsp)
  iretq
entry resume_code_skip2
  add $8, %rsp
  addq $2, (%rsp)
  iretq
entry resume_code_skip3
  add $8, %rsp
  addq $3, (%rsp)
  iretq
entry resume_address_skip3  // the stub left the address below the error code
  add $16, %rsp
  addq $3, (%rsp)
  iretq

// --- Transfer. The callee on the other processor answers with what it was sent; the caller's loop is `exocall`.
entry echo
  xor %ecx, %ecx
1: mov PAGE_SUBMIT + SEQUENCE_OFFSET, %eax
  cmp %ecx, %eax
  je 1b
  mov %eax, %ecx
  mov %eax, PAGE_COMPLETE + SEQUENCE_OFFSET
  cmp $ASK_STOP, %eax
  jne 1b
  movl $1, PAGE_EXIT
  9: jmp 9b

// 64 KiB through 8 KiB that two processors share, in pieces of 2 KiB so that one writes while the other reads; a line says how
// many pieces are there, one back how many were taken, and another that all were.
entry pipe_64k
  xor %r8d, %r8d
  xor %r9d, %r9d
  begin
  mov $DATA + 0x10000, %esi
2: mov %r8d, %eax
  sub PAGE_COMPLETE + TAKEN_OFFSET, %eax
  cmp $4, %eax
  jae 2b
  mov %r8d, %edi
  and $3, %edi
  shl $11, %edi
  add $DATA, %edi
  mov $2048, %ecx
  rep movsb
  inc %r8d
  mov %r8d, PAGE_SUBMIT + SEQUENCE_OFFSET
  cmp $DATA + 0x20000, %esi
  jne 2b
  inc %r9d
3: cmp %r9d, PAGE_COMPLETE + SEQUENCE_OFFSET
  jne 3b
  repeat
  finish

entry take_64k
  xor %r8d, %r8d
  xor %r9d, %r9d
1: mov $DATA + 0x20000, %edi
2: mov PAGE_SUBMIT + SEQUENCE_OFFSET, %eax
  cmp $ASK_STOP, %eax
  je 3f
  cmp %r8d, %eax
  je 2b
  mov %r8d, %esi
  and $3, %esi
  shl $11, %esi
  add $DATA, %esi
  mov $2048, %ecx
  rep movsb
  inc %r8d
  mov %r8d, PAGE_COMPLETE + TAKEN_OFFSET
  cmp $DATA + 0x30000, %edi
  jne 2b
  inc %r9d
  mov %r9d, PAGE_COMPLETE + SEQUENCE_OFFSET
  jmp 1b
3: movl $1, PAGE_EXIT
  9: jmp 9b

// On one processor: int3 goes to the stub that loads RAX into CR3, so that each turn continues in the other space.
entry pct_same_core
  ticks %r15
  mov $TABLES + TABLES_STRIDE, %eax
  mov $TABLES, %ecx
1: int3
  xchg %rax, %rcx
  repeat
  finish

// --- Leaving guest mode, and being brought out of it.
entry leave
1: movl $1, PAGE_EXIT
  jmp 1b

// Computes; RBX says how often it is interrupted. The host puts it at `interrupted`.
entry compute
  movl $1, RESULT_SEEN
1: inc %rcx
  jmp 1b
entry interrupted
  ticks %rax
  mov %rax, RESULT_TICKS
  incq RESULT_COUNT
  dec %rbx
  jnz 1b
  movl $1, PAGE_EXIT
  9: jmp 9b

// --- Life: what a new environment runs. The host sees the store.
entry first
  movl $1, RESULT_SEEN
  movl $1, PAGE_EXIT
  9: jmp 9b

// --- Virtual memory. The guest asks for a change of protection through the ring; ECX is the last sequence,
// EDI what is asked, RAX afterwards the offset of the line.
.macro post
  mov %ecx, %eax
  and $63, %eax
  shl $6, %eax
  inc %ecx
  mov %edi, PAGE_SUBMIT + ASK_OFFSET(%rax)
  mov %ecx, PAGE_SUBMIT + SEQUENCE_OFFSET(%rax)
.endm
.macro await
  8: cmp %ecx, PAGE_COMPLETE + SEQUENCE_OFFSET(%rax)
  jne 8b
.endm
.macro ask what
  mov $\what, %edi
  post
  await
.endm
// Writes every page, so that the translations that a change must remove do exist.
.macro touch
  mov $DATA, %esi
  7: incl (%rsi)
  add $4096, %esi
  cmp $DATA + 100 * 4096, %esi
  jne 7b
.endm
.macro start_parts
  xor %ecx, %ecx
  xor %r15d, %r15d
.endm

entry prot1
  start_parts
1: touch
  part_begin
  mov $ASK_PROTECT | 1, %edi
2: post
  await
  add $1 << 8, %edi
  cmp $ASK_PROTECT | 100 << 8 | 1, %edi
  jne 2b
  part_end
  ask (ASK_UNPROTECT | 100)
  repeat
  finish_parts

entry prot100
  start_parts
1: touch
  part_begin
  ask (ASK_PROTECT | 100)
  part_end
  ask (ASK_UNPROTECT | 100)
  repeat
  finish_parts

entry unprot100
  start_parts
1: touch
  ask (ASK_PROTECT | 100)
  part_begin
  ask (ASK_UNPROTECT | 100)
  part_end
  repeat
  finish_parts

// Each access finds its page protected; the handler protects the page before it and unprotects this one. R10 is
// the page that is accessed, R11 the one before, R9 the position in the order.
entry appel1
  start_parts
  touch
  ask (ASK_PROTECT | 100)
  movzbl RESULT_ORDER + 99, %r11d
  mov %r11d, %edi
  shl $8, %edi
  or $ASK_UNPROTECT | 1, %edi
  post
  await
  xor %r9d, %r9d
  part_begin
1: movzbl RESULT_ORDER(%r9), %r10d
  mov %r10d, %esi
  shl $12, %esi
  incl DATA(%rsi)
  mov %r10d, %r11d
  inc %r9d
  cmp $100, %r9d
  jne 2f
  xor %r9d, %r9d
2: repeat
  part_end
  ask (ASK_UNPROTECT | 100)
  finish_parts
entry handle_appel1
  add $8, %rsp
  mov %r11d, %edi
  shl $8, %edi
  or $ASK_PROTECT | 1, %edi
  post
  mov %r10d, %edi
  shl $8, %edi
  or $ASK_UNPROTECT | 1, %edi
  post
  await
  incq RESULT_COUNT
  iretq

// All pages are protected at once; each is unprotected as it is accessed.
entry appel2
  start_parts
1: touch
  part_begin
  ask (ASK_PROTECT | 100)
  xor %r9d, %r9d
2: movzbl RESULT_ORDER(%r9), %r10d
  mov %r10d, %esi
  shl $12, %esi
  incl DATA(%rsi)
  inc %r9d
  cmp $100, %r9d
  jne 2b
  part_end
  repeat
  finish_parts
entry handle_appel2
  add $8, %rsp
  mov %r10d, %edi
  shl $8, %edi
  or $ASK_UNPROTECT | 1, %edi
  post
  await
  incq RESULT_COUNT
  iretq

// The page table is readable: a query is a load and a test of the dirty bit. RBX counts rounds of 100.
entry dirty
  start_parts
  touch
  part_begin
1: mov $TABLES + 4 * 4096, %esi
  mov $100, %edi
2: testb $0x40, (%rsi)
  jz 3f
  incl %ecx
3: add $8, %esi
  dec %edi
  jnz 2b
  repeat
  part_end
  mov %rcx, RESULT_COUNT
  finish_parts

.balign 8
entry code_end

// --- Ring 0. Sixteen bytes for each vector that has no handler.
.balign 64
entry stubs_start
.rept 32
  outb %al, $UNHANDLED_PORT
  .balign 16, 0xcc
.endr
// #PF with the address: it goes below the error code on the fault stack, and the handler is entered there.
entry stub_page_fault
  push %rax
  mov %cr2, %rax
  xchg %rax, (%rsp)
  mov $PAGE_RETURN, %rsp
  iretq
entry stub_switch
  mov %rax, %cr3
  iretq
entry stubs_end
.section .note.GNU-stack, "", @progbits
