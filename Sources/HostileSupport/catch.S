// A net under code that is expected to fault: every vector comes in at ring 3 through a direct gate, notes what the
// processor said and goes back to whoever called hostile_attempt, on the stack and with the registers of then.
#define VECTOR 0
#define ADDRESS 8
#define ERROR 16

.section .bss.hostile, "aw", @nobits
.balign 4096
stacks: .skip 3 * 8192  // page faults, other faults, debug traps
.balign 16
.globl hostile_fault_words
hostile_fault_words: .skip 64
attempt_stack: .skip 8  // RSP of the attempt under way, 0 for none
events_seen: .skip 8

.section .text.hostile_catch, "ax", @progbits
.globl hostile_attempt
.type hostile_attempt, @function
hostile_attempt:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  sub $8, %rsp
  mov %rsp, attempt_stack(%rip)
  mov %rdi, %rax
  mov %rsi, %rdi
  call *%rax
  xor %eax, %eax
leave:
  mov attempt_stack(%rip), %rsp
  movq $0, attempt_stack(%rip)
  push $0x202
  popfq
  fninit
  movl $0x1f80, (%rsp)
  ldmxcsr (%rsp)
  add $8, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size hostile_attempt, . - hostile_attempt

.macro entry vector, pushes
catch_\vector:
  .rept \pushes
    push $0
  .endr
  push $\vector
  jmp caught
.endm
.irp vector, 0, 1, 3, 4, 5, 6, 7, 16, 19
  entry \vector, 2
.endr
.irp vector, 10, 11, 12, 13, 17
  entry \vector, 1
.endr
entry 14, 0

// Upwards from RSP: vector, address, error code, RIP, CS, RFLAGS, RSP, SS.
caught:
  cld
  lea hostile_fault_words(%rip), %rdi
  mov %rsp, %rsi
  mov $8, %ecx
  rep movsq
  cmpq $0, attempt_stack(%rip)
  je stray
  mov $1, %eax
  jmp leave
stray:
  and $-16, %rsp
  call hostile_unexpected

.globl hostile_stack_top
.type hostile_stack_top, @function
hostile_stack_top:
  lea stacks(%rip), %rax
  sub $2, %edi  // EXO_IST_PAGE_FAULT is 3
  shl $13, %rdi
  add %rdi, %rax
  ret
.size hostile_stack_top, . - hostile_stack_top

.globl hostile_catcher
.type hostile_catcher, @function
hostile_catcher:
  xor %eax, %eax
  cmp $32, %edi
  jae 1f
  lea catchers(%rip), %rcx
  mov (%rcx,%rdi,8), %rax
1: ret
.size hostile_catcher, . - hostile_catcher

.globl hostile_load, hostile_store, hostile_call
.type hostile_load, @function
hostile_load: mov (%rdi), %rax
  ret
.type hostile_store, @function
hostile_store: movq $0x41, (%rdi)
  ret
.type hostile_call, @function
hostile_call: sub $8, %rsp
  call *%rdi
  add $8, %rsp
  ret

// The smallest page-fault handler: the frame is [CR2, error code, RIP, CS, RFLAGS, RSP, SS], 8 bytes above the end of
// its stack. It gives CR2 to the code in RAX and goes on where RDX says.
.globl hostile_small_handler, hostile_small_fault
.type hostile_small_handler, @function
hostile_small_handler:
  lea 1f(%rip), %rax
  ret
1: pop %rax
  add $8, %rsp
  mov %rdx, (%rsp)
  iretq
.type hostile_small_fault, @function
hostile_small_fault:
  lea 1f(%rip), %rdx
  mov (%rdi), %rcx
  xor %eax, %eax
1: ret

// A handler that faults.
.globl hostile_faulting_handler
.type hostile_faulting_handler, @function
hostile_faulting_handler:
  lea 1f(%rip), %rax
  ret
1: mov 0x128, %rax
  ud2

// Another handler of breakpoints, as good as the first.
.globl hostile_second_breakpoint, hostile_breakpoint
.type hostile_second_breakpoint, @function
hostile_second_breakpoint:
  lea 1f(%rip), %rax
  ret
1: nop
  jmp catch_3
.type hostile_breakpoint, @function
hostile_breakpoint:
  int3
  ret

// The frame is the processor's for an interrupt. The soft mask stays set.
.globl hostile_event_handler, hostile_events_seen, hostile_await_event
.type hostile_event_handler, @function
hostile_event_handler:
  lea 1f(%rip), %rax
  ret
1: incq events_seen(%rip)
  iretq
.type hostile_events_seen, @function
hostile_events_seen:
  mov events_seen(%rip), %rax
  ret
.type hostile_await_event, @function
hostile_await_event:
  mov 8(%rdi), %rax
  mov $0x4000000, %ecx
  pushq (%rdi)
  popfq
1: pause
  cmp events_seen(%rip), %rax
  jne 2f
  dec %ecx
  jnz 1b
2: push $0x202
  popfq
  ret

.section .rodata.hostile_catch, "a", @progbits
.balign 8
catchers:
  .quad catch_0, catch_1, 0, catch_3, catch_4, catch_5, catch_6, catch_7, 0, 0, catch_10, catch_11, catch_12
  .quad catch_13, catch_14, 0, catch_16, catch_17, 0, catch_19
  .fill 12, 8, 0

.section .note.GNU-stack, "", @progbits
