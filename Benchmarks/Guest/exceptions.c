#include "bench_loops.h"

#include "exo_abi.h"

#define LOOP(name) uint64_t bench_raise_##name(uint64_t, void *)
LOOP(de);
LOOP(bp);
LOOP(ud);
LOOP(gp);
LOOP(pf);
LOOP(ac);
LOOP(xm);
extern const char bench_resume[], bench_resume_skip2[], bench_resume_skip4[], bench_resume_code_skip2[],
    bench_resume_code_skip3[], bench_resume_address_skip3[];

const struct bench_exception *bench_exception_row(int index) {
  static struct bench_exception rows[] = {
      {"exception_de", 0, 0, 0, bench_raise_de},
      {"exception_bp", 3, 0, 0, bench_raise_bp},
      {"exception_ud", 6, 0, 0, bench_raise_ud},
      {"exception_gp", 13, 0, 0, bench_raise_gp},
      {"exception_pf_direct", 14, 0, 0, bench_raise_pf},
      {"exception_pf_cr2", 14, EXO_EXCEPTION_WITH_ADDRESS, 0, bench_raise_pf},
      {"exception_unaligned", 17, 0, 0, bench_raise_ac},
      {"exception_fp_overflow", 19, 0, 0, bench_raise_xm},
      {"trap", 14, 0, 0, bench_raise_pf},
  };
  static const char *const handlers[] = {
      bench_resume_skip2,      bench_resume,               bench_resume_skip2,
      bench_resume_code_skip2, bench_resume_code_skip3,    bench_resume_address_skip3,
      bench_resume_code_skip3, bench_resume_skip4,         bench_resume_code_skip3,
  };
  if (index < 0 || index >= (int)(sizeof rows / sizeof *rows)) return 0;
  rows[index].handler = (uint64_t)handlers[index];
  return &rows[index];
}

uint64_t bench_handler_stack(void) {
  static _Alignas(4096) char stack[4096];
  *(volatile char *)stack = 0;
  return (uint64_t)stack + sizeof stack;
}
