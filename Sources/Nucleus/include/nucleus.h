// The ring-0 stubs as bytes to be copied into the nucleus text frame, and their instruction counts.
#ifndef EXO_NUCLEUS_H
#define EXO_NUCLEUS_H
#include <stdint.h>

/// The nucleus text: at most one page, position fixed at EXO_NUCLEUS_TEXT.
extern const uint8_t exo_nucleus_start[], exo_nucleus_finish[];

/// Instructions each path executes in ring 0, counted by the assembler as it emits them.
extern const uint32_t exo_nucleus_count_default, exo_nucleus_count_pf_address, exo_nucleus_count_upcall,
    exo_nucleus_count_protect, exo_nucleus_count_null, exo_nucleus_count_transfer, exo_nucleus_count_transfer_keys,
    exo_nucleus_count_transfer_alone, exo_nucleus_count_total;

static inline const uint8_t *_Nonnull exo_nucleus_bytes(void) { return exo_nucleus_start; }
static inline uint64_t exo_nucleus_size(void) {
  return (uint64_t)(exo_nucleus_finish - exo_nucleus_start);
}
#endif
