// The hooks by which libswift_Concurrency hands over jobs, and the few functions of the C and C++ libraries it is linked with.
#include "concurrency_support.h"

#include <stdarg.h>
#include <stddef.h>

#define SWIFT_CALL __attribute__((swiftcall))

SWIFT_CALL void swift_job_run(void *job, void *identity, uintptr_t implementation);
void exo_job_run(uint64_t job) { swift_job_run((void *)job, 0, 0); }

SWIFT_CALL void swift_task_enqueueGlobalImpl(void *job) { exo_guest_enqueue((uint64_t)job); }
SWIFT_CALL void swift_task_enqueueMainExecutorImpl(void *job) { exo_guest_enqueue((uint64_t)job); }
SWIFT_CALL void swift_task_enqueueGlobalWithDelayImpl(unsigned long long nanoseconds, void *job) {
  exo_guest_enqueue_after(nanoseconds, (uint64_t)job);
}

int posix_memalign(void **out, size_t alignment, size_t size);
void *malloc(size_t size) {
  void *memory = 0;
  return posix_memalign(&memory, 16, size) ? 0 : memory;
}
_Noreturn void abort(void) { __builtin_trap(); }
_Noreturn void __cxa_pure_virtual(void) { __builtin_trap(); }
_Noreturn void _ZSt20__throw_length_errorPKc(const char *what) {
  (void)what;
  __builtin_trap();
}
char *strncpy(char *to, const char *from, size_t count) {
  size_t at = 0;
  for (; at < count && from[at]; at++) to[at] = from[at];
  for (; at < count; at++) to[at] = 0;
  return to;
}
int putchar(int character);
int puts(const char *text) {
  while (*text) putchar(*text++);
  return putchar('\n');
}
// Only what is fatal is printed: the format says what it is about.
int vprintf(const char *format, va_list arguments) {
  (void)arguments;
  return puts(format);
}
int vsnprintf(char *out, size_t size, const char *format, va_list arguments) {
  (void)arguments;
  if (size) strncpy(out, format, size - 1)[size - 1] = 0;
  return 0;
}

// The library keeps ordered sets of a handful of entries. These two are what libstdc++ has for them: the same nodes in the same
// order, without the balancing, which changes nothing but the depth.
struct node {
  int is_black;
  struct node *parent, *left, *right;
};
void _ZSt29_Rb_tree_insert_and_rebalancebPSt18_Rb_tree_node_baseS0_RS_(_Bool left, struct node *new, struct node *parent,
                                                                        struct node *header) {
  *new = (struct node){.is_black = parent == header, .parent = parent};
  if (left) {
    parent->left = new;
    if (parent == header) header->parent = header->right = new;
    else if (parent == header->left) header->left = new;
  } else {
    parent->right = new;
    if (parent == header->right) header->right = new;
  }
}
struct node *_ZSt18_Rb_tree_decrementPSt18_Rb_tree_node_base(struct node *node) {
  // Of the header, which stands for the end: the last one.
  if (!node->is_black && node->parent->parent == node && node->parent->is_black) return node->right;
  if (node->left) {
    node = node->left;
    while (node->right) node = node->right;
    return node;
  }
  struct node *parent = node->parent;
  while (node == parent->left) {
    node = parent;
    parent = parent->parent;
  }
  return parent;
}
