// The image as it lies in memory. The linker places its headers at the start of the first segment.
#include "guest_runtime.h"

extern const unsigned char __ehdr_start[] __attribute__((visibility("hidden")));

__attribute__((weak)) void exo_process_begin(void) {}
__attribute__((weak)) void exo_process_end(void) {}

uint64_t exo_image_header(void) { return (uint64_t)(uintptr_t)__ehdr_start; }
