// A guest in C: shows what exo.h offers, and that each thing does what it says.
#include "exo.h"

static int broken;

static void promise(const char *what, bool kept) {
  exo_printf("%s: %s\n", what, kept ? "as promised" : "BROKEN");
  broken += !kept;
}

static bool same(const char *left, const char *right) {
  size_t length = strlen(left);
  return length == strlen(right) && memcmp(left, right, length) == 0;
}

static void frames(void) {
  const uint64_t address = 0x200000000;
  struct exo_frames frames;
  promise("frames are given", exo_frames_allocate(2, &frames) == 0 && frames.count == 2);
  promise("and mapped", exo_frames_map(&frames, 0, address, 2, EXO_READ | EXO_WRITE) == 0);
  volatile uint64_t *word = (uint64_t *)address;
  promise("as zeros", word[0] == 0 && word[1023] == 0);
  word[0] = 42;
  promise("twice, if wanted", exo_frames_map(&frames, 0, address + 0x10000, 1, EXO_READ) == 0);
  promise("the same memory", ((volatile uint64_t *)(address + 0x10000))[0] == 42);
  promise("not where something is", exo_frames_map(&frames, 0, address, 1, EXO_READ) == -EXO_EEXIST);
  promise("protected", exo_protect(address, 1, EXO_READ) == 0);
  promise("unmapped", exo_unmap(address, 2) == 0 && exo_unmap(address + 0x10000, 1) == 0);
  promise("given back", exo_frames_free(&frames) == 0);
  promise("once", exo_frames_free(&frames) < 0);
}

static void memory(void) {
  unsigned char *bytes = malloc(100000), *zeros = calloc(1000, 8);
  bool clear = zeros != NULL;
  for (size_t at = 0; clear && at < 8000; at++) clear = zeros[at] == 0;
  promise("a heap", bytes && clear && ((uintptr_t)bytes & 15) == 0);
  free(bytes);
  free(zeros);
  promise("which refuses", calloc(SIZE_MAX, 2) == NULL && malloc((size_t)1 << 40) == NULL);
}

static void text(void) {
  char out[64];
  exo_format(out, sizeof out, "%d|%5u|%-4x|%04X|%s|%c|%%|%zu|%ld", -7, 42u, 255u, 0xabu, "text", 'c', (size_t)9, -1L);
  promise("a format", same(out, "-7|   42|ff  |00AB|text|c|%|9|-1"));
  promise("cut short", exo_format(out, 4, "%s", "longer") == 6 && same(out, "lon"));
}

int main(int argc, char **argv) {
  promise("arguments", argc == (int)exo_argument_count() && same(argv[0], exo_argument(0)) && !exo_argument((size_t)argc));
  promise("no variable", exo_variable("NOT_SET") == NULL);
  uint64_t before = exo_now();
  promise("a clock", exo_now() >= before && before > 0);
  promise("any exocall", exo_exocall(EXO_CALL_null, (const uint64_t[5]){0}, NULL) == 0);
  promise("but no such", exo_exocall(0x7fff, (const uint64_t[5]){0}, NULL) == -EXO_ENOSYS);
  frames();
  memory();
  text();
  for (int index = 1; index < argc; index++) exo_printf("argument %d is %s\n", index, argv[index]);
  char line[16];
  while (exo_read_line(line, sizeof line) > 0) exo_printf("line: %s\n", line);
  promise("what is written comes after what was printed", exo_write("", 0) == 0);
  exo_printf("c: %d broken\n", broken);
  return broken != 0;
}
