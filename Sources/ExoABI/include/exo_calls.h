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
  X(4, frame_allocate, "frame or ANY, count, alignment in frames (0 and 1: none)", "capability; values: first frame, frames granted",                \
    "EINVAL ENOMEM EDQUOT EBUSY ERANGE")                                                                               \
  X(5, frame_free, "capability", "0", "EBADF EPERM EBUSY ESTALE")                                               \
  X(6, map, "capability, first page within it, address, pages, rights", "0",                                    \
    "EBADF EPERM ESTALE EINVAL EEXIST ENOMEM ERANGE")                                                           \
  X(7, unmap, "address, pages", "0", "EINVAL EBUSY")                                                            \
  X(8, protect, "address, pages, rights", "0", "EINVAL EPERM ENOENT EBUSY")                                     \
  X(9, clock, "", "nanoseconds of the monotonic clock", "")                                                     \
  X(10, exception_bind, "vector, handler, stack top, flags", "0",                                                \
    "EINVAL EFAULT EBUSY EPERM EDQUOT")                        \
  X(11, exception_unbind, "vector", "0", "EINVAL ENOENT")                                                       \
  X(12, capability_derive, "capability, first page within it, pages, rights", "capability",                      \
    "EBADF EPERM ESTALE ERANGE EDQUOT")                                                                         \
  X(13, capability_grant, "capability, environment, first page within it, pages, rights",                        \
    "capability, in the receiver's table", "EBADF EPERM ESTALE ERANGE EDQUOT ENOENT")                           \
  X(14, capability_revoke, "capability", "how many were taken back", "EBADF ESTALE EBUSY")                      \
  X(15, capability_drop, "capability", "0", "EBADF ESTALE EBUSY")                                               \
  X(16, capability_inspect, "capability", "kind; values: rights, first and count", "EBADF ESTALE")              \
  X(17, capability_next, "capability, or 0 for the first", "the next of one's own by index; 0 after the last",   \
    "")                                                                                                         \
  X(18, environment_create, "quotas: frames, capabilities, bindings, environments; processor + 1 (0 any; EXO_PROCESSOR_OWN)",                              \
    "capability; values: its number", "EDQUOT ENOMEM EINVAL")                                                          \
  X(19, environment_map, "environment, capability, address, first page | pages << 32, rights", "0",              \
    "EBADF EPERM ESTALE EINVAL EEXIST ENOENT ENOMEM ERANGE EDQUOT EBUSY")                                              \
  X(20, environment_start, "environment, entry, stack, argument", "0", "EBADF EPERM ESTALE EBUSY EFAULT")       \
  X(21, environment_stop, "environment", "0", "EBADF EPERM ESTALE EBUSY")                                       \
  X(22, environment_resume, "environment", "0", "EBADF EPERM ESTALE EBUSY")                                     \
  X(23, environment_end, "environment, status", "0", "EBADF EPERM ESTALE")                                      \
  X(24, environment_inspect, "environment", "EXO_STATE_*; values: number, frames held",                          \
    "EBADF EPERM ESTALE")                                                                                       \
  X(25, environment_wait, "environment", "EXO_ENDED_*, once it has; values: status or vector, address",          \
    "EBADF EPERM ESTALE")                                                                                       \
  X(26, page_vector, "operation, address of struct exo_page_operation, count",                                   \
    "0; values: entries carried out, also when refused", "those of map, unmap and protect; EFAULT EINVAL")      \
  X(27, guarantee, "address, pages, 1 to pin or 0 to unpin", "0", "EINVAL EPERM ENOENT EDQUOT")         \
  X(28, region_create, "size in bytes, address of a rule, its length in bytes", "capability",                    \
    "EINVAL EFAULT EDQUOT")                                                                                     \
  X(29, region_access, "capability, 0 read or 1 write, offset, address, length", "0",                            \
    "EBADF EPERM ESTALE EINVAL EFAULT ERANGE ENOENT")                                                           \
  X(30, event_bind, "handler, or 0 to unbind, stack top, set of kinds", "0",                                     \
    "EINVAL EFAULT EPERM EBUSY EDQUOT ENOENT")                                                                  \
  X(31, event_post, "environment, value", "0", "EBADF EPERM ESTALE ENOENT ENOSPC")                               \
  X(32, timer_set, "nanoseconds of the monotonic clock, or 0 for none", "0", "")                                 \
  X(33, slices_allocate, "processor, slot or ANY, count", "capability; values: first slot, slots",                \
    "EINVAL EBUSY ENOSPC EDQUOT")                                                                               \
  X(34, slices_bind, "capability, first slot within it, slots, environment or 0 for oneself", "0",               \
    "EBADF EPERM ESTALE ERANGE EINVAL")                                                                         \
  X(35, system_call_bind, "handler, or 0 to unbind", "0", "EFAULT ENOENT EBUSY")                               \
  X(36, transfer_bind, "entry, or 0 to unbind", "0", "EFAULT EBUSY ENOENT EDQUOT")                                \
  X(37, gate_create, "", "capability; values: its number", "ENOENT EDQUOT")                                      \
  X(38, gate_connect, "capability", "number of the connection; values: 1 if a transfer leads there, 0 if its environment is on another processor",     \
    "EBADF EPERM ESTALE ENOENT EINVAL EDQUOT ENOSPC ENOMEM")                                                            \
  X(39, gate_disconnect, "number of a connection", "0", "ENOENT")                                                \
  X(40, gate_signal, "number of a connection", "0", "ENOENT EPIPE")                                       \
  X(41, gate_deadline, "nanoseconds of the monotonic clock, or 0 for none", "0", "")                             \
  X(42, revoke_request, "environment, EXO_KIND_* of what is asked back, amount, deadline in nanoseconds of the monotonic clock",   \
    "amount, once it was given or taken; values: given, taken", "EBADF EPERM ESTALE ENOENT EINVAL EBUSY")  \
  X(43, predicate_bind, "address of a rule, its length in bytes or 0 to unbind, address of a page", "0",        \
    "EFAULT EINVAL ENOENT EPERM EDQUOT")                                                                       \
  X(44, packet_ring_bind, "address of struct exo_packet_ring and its buffers, slots each way", "number of the ring",  \
    "EINVAL EFAULT ENOENT EPERM EDQUOT ENOSPC")                                                                 \
  X(45, packet_ring_unbind, "number of a ring", "0", "ENOENT")                                                 \
  X(46, filter_install, "address of struct exo_claim", "capability; values: its number",                        \
    "EFAULT EINVAL EBADF EPERM ESTALE ENOENT EEXIST EDQUOT ENOSPC")                                            \
  X(47, transmit_derive, "capability, address of struct exo_filter_step, count", "capability; values: its number",  \
    "EFAULT EINVAL EBADF EPERM ESTALE EDQUOT ENOSPC")                                                                  \
  X(48, transmit_bind, "capability, number of a ring", "0", "EBADF EPERM ESTALE ENOENT ENOSPC")                \
  X(49, packet_send, "number of a ring", "packets taken; values: refused, dropped", "ENOENT") \
  X(50, handler_bind, "capability to a claim, address of a program, its length in bytes or 0 to unbind; capability to frames that it writes or 0, first page within it | pages << 32",          \
    "0; values: EXO_HANDLER_* of why it is none and which instruction, if refused with EINVAL", "EFAULT EINVAL EBADF EPERM ESTALE ENOENT ERANGE")  \
  X(51, key_set, "address, pages, protection key from 0 to 15", "0", "EINVAL ENOENT EOPNOTSUPP")                \
  X(52, environment_ready, "environment that this one made and nobody started, entry, stack", "number of a connection",  \
    "EBADF EPERM ESTALE ENOENT EINVAL EFAULT EBUSY EDQUOT ENOSPC ENOMEM ERANGE")

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
