#include "bench_loops.h"

#include "exo_abi.h"

#define PATH(name) void bench_count_##name(uint32_t *, void *)
PATH(nothing);
PATH(nops);
PATH(de_there);
PATH(de_round);
PATH(bp_there);
PATH(bp_round);
PATH(ud_there);
PATH(ud_round);
PATH(gp_there);
PATH(gp_round);
PATH(pf_there);
PATH(pf_round);
PATH(upcall_there);
PATH(upcall_round);
PATH(null_call);
extern const char bench_count_seen_plain[], bench_count_seen_code[], bench_count_seen_address[],
    bench_count_resume_plain[], bench_count_resume_code[], bench_count_resume_address[],
    bench_count_upcall_seen[], bench_count_upcall_resume[];

#define EXCEPTION(name, vector, flags, path)                                          \
  {name "_there", BENCH_COUNT_EXCEPTION, vector, flags, 0, bench_count_##path##_there}, \
      {name "_round", BENCH_COUNT_EXCEPTION, vector, flags, 0, bench_count_##path##_round},

const struct bench_counted *bench_counted_path(int index) {
  static struct bench_counted rows[] = {
      {"nothing", BENCH_COUNT_PLAIN, 0, 0, 0, bench_count_nothing},
      {"nops256", BENCH_COUNT_PLAIN, 0, 0, 0, bench_count_nops},
      EXCEPTION("exception_de", 0, 0, de)
      EXCEPTION("exception_bp", 3, 0, bp)
      EXCEPTION("exception_ud", 6, 0, ud)
      EXCEPTION("exception_gp", 13, 0, gp)
      EXCEPTION("exception_pf_direct", 14, 0, pf)
      EXCEPTION("exception_pf_cr2", 14, EXO_EXCEPTION_WITH_ADDRESS, pf)
      {"syscall_handler_there", BENCH_COUNT_UPCALL, 0, 0, 0, bench_count_upcall_there},
      {"syscall_handler_round", BENCH_COUNT_UPCALL, 0, 0, 0, bench_count_upcall_round},
      {"nucleus_null", BENCH_COUNT_NUCLEUS, 0, 0, 0, bench_count_null_call},
  };
  static const char *const handlers[] = {
      0, 0,
      bench_count_seen_plain, bench_count_resume_plain, bench_count_seen_plain, bench_count_resume_plain,
      bench_count_seen_plain, bench_count_resume_plain, bench_count_seen_code, bench_count_resume_code,
      bench_count_seen_code, bench_count_resume_code, bench_count_seen_address, bench_count_resume_address,
      bench_count_upcall_seen, bench_count_upcall_resume, 0,
  };
  _Static_assert(sizeof handlers / sizeof *handlers == sizeof rows / sizeof *rows, "a handler for each row");
  if (index < 0 || index >= (int)(sizeof rows / sizeof *rows)) return 0;
  rows[index].handler = (uint64_t)handlers[index];
  return &rows[index];
}
