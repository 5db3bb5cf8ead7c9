// What of the C library can be said in C, over the few functions that LibOSC gives.
#include "exo.h"

int posix_memalign(void **out, size_t alignment, size_t size);

void *malloc(size_t size) {
  void *memory;
  return size <= PTRDIFF_MAX && posix_memalign(&memory, 16, size) == 0 ? memory : NULL;
}

void *calloc(size_t count, size_t size) {
  size_t bytes;
  void *memory = __builtin_mul_overflow(count, size, &bytes) ? NULL : malloc(bytes);
  if (memory) memset(memory, 0, bytes);
  return memory;
}

// Input that was read and not yet taken.
static unsigned char held[4096];
static size_t held_at, held_end;

static int64_t fill(void) {
  int64_t count = exo_console_read(held, sizeof held);
  held_at = 0;
  held_end = count > 0 ? (size_t)count : 0;
  return count;
}

int64_t exo_read(void *bytes, size_t size) {
  if (held_at == held_end) return exo_console_read(bytes, size);
  size_t count = held_end - held_at < size ? held_end - held_at : size;
  memcpy(bytes, held + held_at, count);
  held_at += count;
  return (int64_t)count;
}

int64_t exo_read_line(char *line, size_t size) {
  size_t length = 0;
  int64_t taken = 0;
  if (size < 2) return -EXO_EINVAL;
  while (length + 1 < size) {
    if (held_at == held_end) {
      int64_t count = fill();
      // An error after part of a line comes again at the next call.
      if (count < 0 && !taken) return count;
      if (count <= 0) break;
    }
    unsigned char byte = held[held_at++];
    taken++;
    if (byte == '\n') break;
    line[length++] = (char)byte;
  }
  line[length] = 0;
  return taken;
}

const char *exo_variable(const char *name) {
  size_t length = strlen(name);
  for (size_t index = 0; index < exo_variable_count(); index++) {
    const char *text = exo_variable_text(index);
    size_t at = 0;
    while (at < length && text[at] == name[at]) at++;
    if (at == length && text[at] == '=') return text + at + 1;
  }
  return NULL;
}

void exo_panic(const char *message) {
  exo_printf("panic: %s\n", message);
  exo_exit(134);
}

int64_t exo_frames_allocate(uint64_t count, struct exo_frames *frames) {
  uint64_t values[5];
  int64_t result = exo_exocall(EXO_CALL_frame_allocate, (const uint64_t[5]){EXO_FRAME_ANY, count}, values);
  if (result < 0) return result;
  *frames = (struct exo_frames){(uint64_t)result, values[0], values[1]};
  return 0;
}

int64_t exo_frames_map(
  const struct exo_frames *frames, uint64_t page, uint64_t address, uint64_t pages, uint64_t rights) {
  return exo_exocall(
    EXO_CALL_map, (const uint64_t[5]){frames->capability, page, address, pages, rights}, NULL);
}

int64_t exo_protect(uint64_t address, uint64_t pages, uint64_t rights) {
  return exo_exocall(EXO_CALL_protect, (const uint64_t[5]){address, pages, rights}, NULL);
}

int64_t exo_unmap(uint64_t address, uint64_t pages) {
  return exo_exocall(EXO_CALL_unmap, (const uint64_t[5]){address, pages}, NULL);
}

int64_t exo_frames_free(const struct exo_frames *frames) {
  return exo_exocall(EXO_CALL_frame_free, (const uint64_t[5]){frames->capability}, NULL);
}
