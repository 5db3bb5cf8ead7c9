// Printing by a format.
#include <stdarg.h>
#include "exo.h"

int putchar(int character);

// Where characters go: to a buffer as far as it reaches, or to the console.
struct sink {
  char *out;
  size_t size, length;
  bool console;
};

static void put(struct sink *sink, char character) {
  if (sink->console) putchar((unsigned char)character);
  else if (sink->length + 1 < sink->size) sink->out[sink->length] = character;
  sink->length++;
}

static void put_padded(struct sink *sink, const char *text, size_t length, size_t width, bool left, bool zeros) {
  size_t at = 0;
  if (zeros && !left && length && text[0] == '-') put(sink, text[at++]);
  for (size_t pad = length; !left && pad < width; pad++) put(sink, zeros ? '0' : ' ');
  while (at < length) put(sink, text[at++]);
  for (size_t pad = length; left && pad < width; pad++) put(sink, ' ');
}

// Digits from the end of 24 characters on; returns where they begin.
static size_t digits(char text[24], uint64_t value, unsigned base, bool capital) {
  size_t at = 24;
  do {
    unsigned digit = (unsigned)(value % base);
    text[--at] = (char)(digit < 10 ? '0' + digit : (capital ? 'A' : 'a') + digit - 10);
    value /= base;
  } while (value);
  return at;
}

static void format(struct sink *sink, const char *form, va_list arguments) {
  for (; *form; form++) {
    if (*form != '%') {
      put(sink, *form);
      continue;
    }
    const char *begin = form++;
    bool left = false, zeros = false;
    for (; *form == '-' || *form == '0'; form++) *form == '-' ? (left = true) : (zeros = true);
    size_t width = 0;
    for (; *form >= '0' && *form <= '9' && width < 4096; form++) width = width * 10 + (size_t)(*form - '0');
    bool wide = false;
    for (; *form == 'l' || *form == 'z'; form++) wide = true;
    char text[24];
    size_t at = 24;
    switch (*form) {
    case 'd':
    case 'i': {
      int64_t value = wide ? va_arg(arguments, int64_t) : va_arg(arguments, int);
      at = digits(text, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, false);
      if (value < 0) text[--at] = '-';
      break;
    }
    case 'u': at = digits(text, wide ? va_arg(arguments, uint64_t) : va_arg(arguments, unsigned), 10, false); break;
    case 'x':
    case 'X':
      at = digits(text, wide ? va_arg(arguments, uint64_t) : va_arg(arguments, unsigned), 16, *form == 'X');
      break;
    case 'p':
      at = digits(text, (uint64_t)(uintptr_t)va_arg(arguments, void *), 16, false);
      text[--at] = 'x';
      text[--at] = '0';
      break;
    case 'c': text[--at] = (char)va_arg(arguments, int); break;
    case '%': text[--at] = '%'; break;
    case 's': {
      const char *string = va_arg(arguments, const char *);
      if (!string) string = "(null)";
      put_padded(sink, string, strlen(string), width, left, false);
      continue;
    }
    default:
      for (; begin <= form && *begin; begin++) put(sink, *begin);
      if (!*form) return;
      continue;
    }
    put_padded(sink, text + at, 24 - at, width, left, zeros);
  }
}

void exo_printf(const char *form, ...) {
  struct sink sink = {.console = true};
  va_list arguments;
  va_start(arguments, form);
  format(&sink, form, arguments);
  va_end(arguments);
}

size_t exo_format(char *out, size_t size, const char *form, ...) {
  struct sink sink = {.out = out, .size = out ? size : 0};
  va_list arguments;
  va_start(arguments, form);
  format(&sink, form, arguments);
  va_end(arguments);
  if (sink.size) out[sink.length < sink.size ? sink.length : sink.size - 1] = 0;
  return sink.length;
}

void exo_print(const char *text) {
  while (*text) putchar((unsigned char)*text++);
}
