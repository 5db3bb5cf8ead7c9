// What a guest written in C gets from the LibOS. `main` is as in any C program: its arguments are the guest's, its result
// the exit status. What can be refused returns a negative error number (EXO_E* in exo_abi.h).
#ifndef EXO_H
#define EXO_H

#if !defined(__x86_64__)
#error "exo.h: guests are x86-64 programs; compile for that target"
#endif
// Swift's importer sets its own flags.
#if __STDC_HOSTED__ && !defined(__swift__)
#error "exo.h: a guest has no C library under it; add cSettings: [.unsafeFlags([\"-ffreestanding\"])] to its target"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "exo_abi.h"

// Output. What is printed leaves at each end of line, when 4,096 bytes are held, before input is read and at the end.
void exo_print(const char *_Nonnull text);
// The conversions d i u x X c s p and %, with l, ll, z, a width and the flags 0 and -. Others are printed as they stand.
void exo_printf(const char *_Nonnull format, ...) __attribute__((format(printf, 1, 2)));
// Writes at most `size` bytes, the ending NUL among them; returns how long the whole text would have been.
size_t exo_format(char *_Nullable out, size_t size, const char *_Nonnull format, ...)
  __attribute__((format(printf, 3, 4)));
// Writes all of the bytes, after what was printed before, at once. 0 or an error.
int64_t exo_write(const void *_Nonnull bytes, size_t count);

// Input. Waits for the first byte; returns how many were read, 0 at the end of the input, or an error.
int64_t exo_read(void *_Nonnull bytes, size_t size);
// Reads a line without its newline, ended by NUL: at most `size` - 1 bytes of it, the rest being the next line. Returns how many bytes
// of input that took, with the newline: 0 at the end of the input. Or an error.
int64_t exo_read_line(char *_Nonnull line, size_t size);

// The end. What was printed is written out first.
_Noreturn void exo_exit(int status);
// Says why, and ends with the status of an abort, 134.
_Noreturn void exo_panic(const char *_Nonnull message);

// Arguments, the guest's name first, and variables. NULL for what is not there.
size_t exo_argument_count(void);
const char *_Nullable exo_argument(size_t index);
const char *_Nullable exo_variable(const char *_Nonnull name);

// Nanoseconds of the monotonic clock, read without a call.
uint64_t exo_now(void);

// The heap. NULL where there are no more frames. On multiples of 16.
void *_Nullable malloc(size_t size);
void *_Nullable calloc(size_t count, size_t size);
void free(void *_Nullable memory);

// Frames: pages of the machine's memory, which the exokernel gives out one by one.
struct exo_frames {
  uint64_t capability;  // handle in this environment's table
  uint64_t first;       // number of the first frame; the others follow it
  uint64_t count;
};
// Allocates up to `count` frames that follow one another. 0 or an error.
int64_t exo_frames_allocate(uint64_t count, struct exo_frames *_Nonnull frames);
// Maps some of them at an address of the user half, with EXO_READ, EXO_WRITE and EXO_EXECUTE. 0 or an error.
int64_t exo_frames_map(
  const struct exo_frames *_Nonnull frames, uint64_t page, uint64_t address, uint64_t pages, uint64_t rights);
// Changes what mapped pages allow, within what they were mapped with. 0 or an error.
int64_t exo_protect(uint64_t address, uint64_t pages, uint64_t rights);
int64_t exo_unmap(uint64_t address, uint64_t pages);
// Gives frames back. 0 or an error.
int64_t exo_frames_free(const struct exo_frames *_Nonnull frames);

// Any exocall, by its number in exo_calls.h (EXO_CALL_*): five arguments, its result, and five values where `values` is not NULL.
int64_t exo_exocall(uint32_t number, const uint64_t *_Nonnull arguments, uint64_t *_Nullable values);

// What the compiler calls by name, for everybody.
void *_Nonnull memcpy(void *_Nonnull restrict to, const void *_Nonnull restrict from, size_t count);
void *_Nonnull memmove(void *_Nonnull to, const void *_Nonnull from, size_t count);
void *_Nonnull memset(void *_Nonnull to, int value, size_t count);
int memcmp(const void *_Nonnull left, const void *_Nonnull right, size_t count);
size_t strlen(const char *_Nonnull string);

// Between this library's two parts.
int64_t exo_console_read(void *_Nonnull bytes, size_t size);
size_t exo_variable_count(void);
const char *_Nonnull exo_variable_text(size_t index);
#endif
