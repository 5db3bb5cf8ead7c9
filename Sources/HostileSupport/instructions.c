// Instructions that are not an environment's to execute, each in a function of its own.
#include "hostile.h"

#define DB (1u << 1)
#define UD (1u << 6)
#define GP (1u << 13)
#define PF (1u << 14)
#define RETURNS HOSTILE_MAY_RETURN

// X(name, what it may raise, code). The scratch memory's address is in RDI.
#define INSTRUCTIONS(X)                                                            \
  X(hlt, GP, "hlt")                                                                \
  X(cli, GP, "cli")                                                                \
  X(sti, GP, "sti")                                                                \
  X(in_immediate, GP, "in $0x60, %al")                                             \
  X(in_dx, GP, "mov $0x3f8, %edx\n in %dx, %eax")                                  \
  X(out_nucleus_port, GP, "out %al, $0xe0")                                        \
  X(out_dx, GP, "mov $0xcf8, %edx\n out %eax, %dx")                                \
  X(ins, GP, "mov $0x60, %edx\n insb")                                             \
  X(outs, GP, "mov %rdi, %rsi\n mov $0xe0, %edx\n outsb")                          \
  X(rdmsr_efer, GP, "mov $0xc0000080, %ecx\n rdmsr")                               \
  X(wrmsr_efer, GP, "mov $0xc0000080, %ecx\n mov $0xd01, %eax\n xor %edx, %edx\n wrmsr") \
  X(wrmsr_lstar, GP, "mov $0xc0000082, %ecx\n mov %edi, %eax\n xor %edx, %edx\n wrmsr") \
  X(wrmsr_gs_base, GP, "mov $0xc0000101, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr") \
  X(rdpmc, GP, "xor %ecx, %ecx\n rdpmc")                                           \
  X(load_cr0, GP, "mov %cr0, %rax")                                                \
  X(store_cr0, GP, "xor %eax, %eax\n mov %rax, %cr0")                              \
  X(load_cr2, GP, "mov %cr2, %rax")                                                \
  X(load_cr3, GP, "mov %cr3, %rax")                                                \
  X(store_cr3, GP, "mov %rdi, %rax\n mov %rax, %cr3")                              \
  X(load_cr4, GP, "mov %cr4, %rax")                                                \
  X(store_cr4, GP, "xor %eax, %eax\n mov %rax, %cr4")                              \
  X(load_cr8, GP, "mov %cr8, %rax")                                                \
  X(store_cr8, GP, "xor %eax, %eax\n mov %rax, %cr8")                              \
  X(load_dr0, GP, "mov %dr0, %rax")                                                \
  X(load_dr7, GP, "mov %dr7, %rax")                                                \
  X(store_dr7, GP, "mov $0x401, %eax\n mov %rax, %dr7")                            \
  X(lgdt, GP, "lgdt (%rdi)")                                                       \
  X(lidt, GP, "lidt (%rdi)")                                                       \
  X(lldt, GP, "xor %eax, %eax\n lldt %ax")                                         \
  X(ltr, GP, "mov $0x40, %eax\n ltr %ax")                                          \
  X(lmsw, GP, "mov $1, %eax\n lmsw %ax")                                           \
  X(clts, GP, "clts")                                                              \
  X(invlpg, GP, "invlpg (%rdi)")                                                   \
  X(invpcid, GP | UD, "xor %eax, %eax\n invpcid (%rdi), %rax")                     \
  X(invd, GP, "invd")                                                              \
  X(wbinvd, GP, "wbinvd")                                                          \
  X(wbnoinvd, GP | UD, ".byte 0xf3, 0x0f, 0x09")                                   \
  X(swapgs, GP, "swapgs")                                                          \
  X(sysret_64, GP | UD, "mov %rdi, %rcx\n .byte 0x48, 0x0f, 0x07")                 \
  X(sysret_32, GP | UD, "mov %rdi, %rcx\n .byte 0x0f, 0x07")                       \
  X(sysexit, GP | UD, ".byte 0x0f, 0x35")                                          \
  X(xsetbv, GP | UD, "xor %ecx, %ecx\n mov $7, %eax\n xor %edx, %edx\n xsetbv")    \
  X(monitor, GP | UD, "mov %rdi, %rax\n xor %ecx, %ecx\n xor %edx, %edx\n monitor") \
  X(mwait, GP | UD, "xor %eax, %eax\n xor %ecx, %ecx\n mwait")                     \
  X(rsm, GP | UD, ".byte 0x0f, 0xaa")                                              \
  X(clac, GP | UD, ".byte 0x0f, 0x01, 0xca")                                       \
  X(stac, GP | UD, ".byte 0x0f, 0x01, 0xcb")                                       \
  X(vmxon, GP | UD, ".byte 0xf3, 0x0f, 0xc7, 0x37")                                \
  X(vmptrld, GP | UD, ".byte 0x0f, 0xc7, 0x37")                                    \
  X(vmlaunch, GP | UD, ".byte 0x0f, 0x01, 0xc2")                                   \
  X(vmrun, GP | UD, "mov %rdi, %rax\n .byte 0x0f, 0x01, 0xd8")                     \
  X(vmload, GP | UD, "mov %rdi, %rax\n .byte 0x0f, 0x01, 0xda")                    \
  X(vmsave, GP | UD, "mov %rdi, %rax\n .byte 0x0f, 0x01, 0xdb")                    \
  X(clgi, GP | UD, ".byte 0x0f, 0x01, 0xdd")                                       \
  X(skinit, GP | UD, ".byte 0x0f, 0x01, 0xde")                                     \
  X(invlpga, GP | UD, "mov %rdi, %rax\n xor %ecx, %ecx\n .byte 0x0f, 0x01, 0xdf")  \
  X(encls, GP | UD, "xor %eax, %eax\n .byte 0x0f, 0x01, 0xcf")                     \
  X(getsec, GP | UD, "xor %eax, %eax\n .byte 0x0f, 0x37")                          \
  X(pconfig, GP | UD, "xor %eax, %eax\n .byte 0x0f, 0x01, 0xc5")                   \
  X(xsaves, GP | UD, "xor %eax, %eax\n xor %edx, %edx\n .byte 0x48, 0x0f, 0xc7, 0x2f")  \
  X(xrstors, GP | UD, "xor %eax, %eax\n xor %edx, %edx\n .byte 0x48, 0x0f, 0xc7, 0x1f") \
  X(wruss, GP | UD, ".byte 0x66, 0x48, 0x0f, 0x38, 0xf5, 0x07")                    \
  /* Without shadow stacks this is an instruction that only waits (SERIALIZE). */  \
  X(setssbsy, GP | UD | RETURNS, ".byte 0xf3, 0x0f, 0x01, 0xe8")                             \
  X(hreset, GP | UD, ".byte 0xf3, 0x0f, 0x3a, 0xf0, 0xc0, 0x00")                   \
  X(uiret, GP | UD, ".byte 0xf3, 0x0f, 0x01, 0xec")                                \
  X(senduipi, GP | UD, "xor %eax, %eax\n .byte 0xf3, 0x0f, 0xc7, 0xf0")            \
  X(icebp, DB | UD | GP, ".byte 0xf1")                                             \
  /* Reading these tells where tables are, where the processor lets it. */         \
  X(sgdt, GP | RETURNS, "sgdt (%rdi)")                                             \
  X(sidt, GP | RETURNS, "sidt (%rdi)")                                             \
  X(sldt, GP | RETURNS, "sldt %ax")                                                \
  X(str, GP | RETURNS, "str %ax")                                                  \
  X(smsw, GP | RETURNS, "smsw %rax")                                               \
  /* A host that has protection keys gives each environment its own register. */   \
  X(wrpkru, GP | UD | RETURNS, "xor %eax, %eax\n xor %ecx, %ecx\n xor %edx, %edx\n .byte 0x0f, 0x01, 0xef") \
  /* KVM may answer these itself, with a refusal: no call of that number, or not from ring 3. */ \
  X(vmcall, GP | UD | PF | RETURNS, "mov $-1, %rax\n .byte 0x0f, 0x01, 0xc1")      \
  X(vmcall_kick, GP | UD | PF | RETURNS, "mov $5, %eax\n .byte 0x0f, 0x01, 0xc1")  \
  X(vmmcall, GP | UD | PF | RETURNS, "mov $-1, %rax\n .byte 0x0f, 0x01, 0xd9")

#define CODE(name, allowed, text) \
  __attribute__((naked)) static void code_##name(uint64_t scratch) { __asm__(text "\n ret"); }
INSTRUCTIONS(CODE)

#define ROW(name, allowed, text) {#name, code_##name, allowed},
static const struct hostile_instruction instructions[] = {INSTRUCTIONS(ROW)};

const struct hostile_instruction *hostile_privileged(uint32_t index) {
  return index < sizeof instructions / sizeof instructions[0] ? &instructions[index] : 0;
}

extern const struct hostile_fault hostile_fault_words;
const struct hostile_fault *hostile_last_fault(void) { return &hostile_fault_words; }

extern const char __executable_start[], etext[];
uint64_t hostile_text_start(void) { return (uint64_t)__executable_start; }
uint64_t hostile_text_end(void) { return (uint64_t)etext; }
