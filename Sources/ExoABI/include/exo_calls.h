// Every exocall, declared once: number, name, arguments, what may be refused. The enumeration, the decoder's
// table and the reference in docs/exocalls.md come from here (a test holds them together).
#ifndef EXO_CALLS_H
#define EXO_CALLS_H

// X(number, name, "arguments", "result", "errors")
#define EXO_CALL_TABLE(X)                                                                                       \
  X(0, null, "", "0", "")                                                                                       \
  X(1, exit, "status", "does not return", "")                                                                   \
  X(2, console_write, "address, length", "bytes written", "EFAULT EINVAL EPIPE EIO")                            \
  X(3, console_read, "address, length", "bytes read, 0 at end of input", "EFAULT EINVAL EIO EBUSY")              \
  X(4, frame_allocate, "frame or ANY, count", "capability; values: first frame, frames granted",                \
    "EINVAL ENOMEM EDQUOT EBUSY")                                                                               \
  X(5, frame_free, "capability", "0", "EBADF EPERM EBUSY ESTALE")                                               \
  X(6, map, "capability, first page within it, address, pages, rights", "0",                                    \
    "EBADF EPERM ESTALE EINVAL EEXIST ENOMEM ERANGE")                                                           \
  X(7, unmap, "address, pages", "0", "EINVAL EBUSY")                                                            \
  X(8, protect, "address, pages, rights", "0", "EINVAL EPERM ENOENT EBUSY")                                     \
  X(9, clock, "", "nanoseconds of the monotonic clock", "")                                                     \
  X(10, exception_bind, "vector, handler, stack top, flags", "0", "EINVAL EFAULT EBUSY")                        \
  X(11, exception_unbind, "vector", "0", "EINVAL ENOENT")

#ifndef __ASSEMBLER__
#define EXO_CALL_ENUM(number, name, arguments, result, errors) EXO_CALL_##name = number,
enum exo_call { EXO_CALL_TABLE(EXO_CALL_ENUM) EXO_CALL_COUNT };
#undef EXO_CALL_ENUM

struct exo_call_description {
  const char *name, *arguments, *result, *errors;
};
// Null for a number that is not a call.
const struct exo_call_description *exo_describe_call(uint32_t number);
#endif
#endif
