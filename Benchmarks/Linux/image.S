// The smallest Linux program, whole: an ELF image with one segment and no library. The first letter of its name
// says what it does. Nothing can be started on Linux for less.
//   x  exits
//   t  writes the clock reading of its first instruction to descriptor 1, exits
//   h  writes "hello" to descriptor 1, exits
//   f  reads a count from descriptor 0, forks so often, writes to descriptor 1 the sum of the times from before
//      each fork to the child's first instruction; and so on until the end of its input
.set BASE, 0x400000
.section .rodata
.balign 64
.globl bench_image_start, bench_image_end
bench_image_start:
  .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0
  .zero 8
  .short 2, 62
  .long 1
  .quad BASE + code - bench_image_start
  .quad 64, 0
  .long 0
  .short 64, 56, 1, 0, 0, 0
  .long 1, 5  // loaded, read and execute
  .quad 0, BASE, BASE
  .quad bench_image_end - bench_image_start, bench_image_end - bench_image_start, 4096
code:
  rdtsc
  shl $32, %rdx
  or %rdx, %rax
  push %rax
  mov 16(%rsp), %rcx  // the program's name, below which now lie the reading and the argument count
  movzbl (%rcx), %ecx
  cmp $'t', %ecx
  je stamp
  cmp $'h', %ecx
  je greet
  cmp $'f', %ecx
  je forker
leave:
  xor %edi, %edi
  mov $231, %eax
  syscall
greet:
  lea hello(%rip), %rsi
  mov $6, %edx
  jmp put
stamp:
  mov %rsp, %rsi
  mov $8, %edx
put:
  mov $1, %edi
  mov $1, %eax
  syscall
  jmp leave

forker:  // a page that parent and children share, for the child's reading
  xor %edi, %edi
  mov $4096, %esi
  mov $3, %edx
  mov $0x21, %r10d
  mov $-1, %r8
  xor %r9d, %r9d
  mov $9, %eax
  syscall
  mov %rax, %r12
  movq $0, (%r12)
next:
  xor %edi, %edi
  mov %rsp, %rsi
  mov $8, %edx
  xor %eax, %eax
  syscall
  cmp $8, %rax
  jne leave
  mov (%rsp), %rbx
  xor %r13d, %r13d
again:
  rdtsc
  shl $32, %rdx
  or %rdx, %rax
  mov %rax, %r14
  mov $57, %eax
  syscall
  test %eax, %eax
  jz child
  js leave
  mov %eax, %edi
  xor %esi, %esi
  xor %edx, %edx
  xor %r10d, %r10d
  mov $61, %eax
  syscall
  mov (%r12), %rax
  sub %r14, %rax
  add %rax, %r13
  dec %rbx
  jnz again
  mov %r13, (%rsp)
  mov $1, %edi
  mov %rsp, %rsi
  mov $8, %edx
  mov $1, %eax
  syscall
  jmp next
child:
  rdtsc
  shl $32, %rdx
  or %rdx, %rax
  mov %rax, (%r12)
  jmp leave
hello: .ascii "hello\n"
bench_image_end:
.section .note.GNU-stack, "", @progbits
