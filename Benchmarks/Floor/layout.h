// Where things are in the floor's machine. Guest-linear addresses equal guest-physical ones, except for the
// page that has no memory behind it. Used by C and by assembly.
#ifndef FLOOR_LAYOUT_H
#define FLOOR_LAYOUT_H

#define NUCLEUS_CS 0x10
#define NUCLEUS_SS 0x18
#define USER_SS 0x2b
#define USER_CS 0x33
#define TSS_SELECTOR 0x40

// Supervisor pages, never writable in the guest.
#define PAGE_GDT 0x1000    // GDT, and the TSS at +0x800
#define PAGE_IDT 0x2000
#define PAGE_STUBS 0x3000  // ring-0 code
#define PAGE_RETURN 0x4000 // the iretq frame of the stub that saves CR2
#define TSS_OFFSET 0x800

// User pages.
#define PAGE_CODE 0x8000      // ring-3 code, read-only, 4 pages
#define CODE_PAGES 4
#define PAGE_FAULT_STACK 0x10000
#define PAGE_NUCLEUS_STACK 0x11000
#define PAGE_STACK 0x12000    // one page for each of two vCPUs
#define PAGE_SUBMIT 0x20000   // 64 lines, written by the guest
#define PAGE_COMPLETE 0x21000 // 64 lines, written by the host or the peer
#define PAGE_RESULT 0x22000   // what a guest loop reports: ticks, then others
#define PAGE_READONLY 0x30000
#define PAGE_EXIT 0x1ff000    // no memory behind it: a store ends the run
#define EXIT_PHYSICAL 0xd0000000

// Page tables: two address spaces of five pages each (root, second, third, two last levels), read-only to the
// user at the same addresses, as an exokernel exposes them.
#define TABLES 0x40000
#define TABLES_STRIDE 0x8000
#define TABLE_PAGES 5

// Sets of page tables for new environments.
#define POOL 0x80000
#define POOL_STRIDE 0x5000
#define POOL_SETS 48

// The second slot, dirty-logged: data pages whose protection changes.
#define SLOT 0x200000
#define DATA 0x200000
#define DATA_PAGES 128
#define MEMORY 0x400000

// The port a ring-0 stub writes for a vector nobody handles.
#define UNHANDLED_PORT 0xe0

#define RESULT_TICKS (PAGE_RESULT + 0)
#define RESULT_COUNT (PAGE_RESULT + 8)   // what handlers counted
#define RESULT_SEEN (PAGE_RESULT + 64)   // the first instruction's store
#define RESULT_ORDER (PAGE_RESULT + 128) // one byte a page: the order in which pages are visited

// What the guest asks of the host in a line of PAGE_SUBMIT: the word at 56 says what, the one at 60 is the sequence.
#define ASK_OFFSET 56
#define SEQUENCE_OFFSET 60
#define TAKEN_OFFSET 188 // of PAGE_COMPLETE: pieces that the peer has taken out of the shared ring
#define ASK_PROTECT 0x1000000   // | first page << 8 | count
#define ASK_UNPROTECT 0x2000000
#define ASK_STOP 0x7fffffff
#endif
