// What the 1995 paper measured, by row: tables 4 to 13 of "Exokernel: An Operating System Architecture for
// Application-Level Resource Management". They are here for the shape of a result, not its size: a DECstation
// 5000/125 ran at 25 MHz.

let paperFigures: [String: PaperFigures] = [
  "procedure_call": PaperFigures(table: 4, ultrix: 0.28, exo: 0.28),
  "exocall": PaperFigures(table: 4, ultrix: 21.3, exo: 1.6, note: "2.3 for calls that need a stack"),
  "exception_unaligned": PaperFigures(table: 5, ultrix: nil, exo: 1.5),
  "exception_fp_overflow": PaperFigures(table: 5, ultrix: 130, exo: 1.5),
  "exception_pf_direct": PaperFigures(
    table: 5, ultrix: 154, exo: 1.5, note: "protection fault; 18 instructions to dispatch it"),
  "pct_same_core_sync": PaperFigures(
    table: 6, ultrix: nil, exo: 1.4, note: "one way, about 30 instructions; L3, scaled to this machine: 9.3"),
  "demux_10": PaperFigures(
    table: 7, ultrix: nil, exo: 1.5, note: "on a DECstation 5000/200; PATHFINDER 19, MPF 35"),
  "pipe_latency": PaperFigures(table: 8, ultrix: 199, exo: 14.2, note: "one way"),
  "pipe_inlined": PaperFigures(table: 8, ultrix: nil, exo: 10.7, note: "one way"),
  "shm_latency": PaperFigures(
    table: 8, ultrix: 118, exo: 5.7, note: "one way; on Ultrix by signals"),
  "lrpc": PaperFigures(table: 8, ultrix: nil, exo: 6.3, note: "round trip"),
  "matmul150_int": PaperFigures(table: 9, ultrix: 3_800_000, exo: 3_700_000),
  "dirty": PaperFigures(table: 10, ultrix: nil, exo: 9.8),
  "prot1": PaperFigures(table: 10, ultrix: 32, exo: 16.9),
  "prot100": PaperFigures(table: 10, ultrix: 102, exo: 109),
  "unprot100": PaperFigures(table: 10, ultrix: 102, exo: 143),
  "trap": PaperFigures(table: 10, ultrix: 161, exo: 4.8),
  "appel1": PaperFigures(table: 10, ultrix: 262, exo: 34, note: "per page"),
  "appel2": PaperFigures(table: 10, ultrix: 232, exo: 22, note: "per page"),
  "udp_rtt": PaperFigures(table: 11, ultrix: 3400, exo: 320, note: "60 bytes over Ethernet"),
  "udp_rtt_ash": PaperFigures(
    table: 11, ultrix: 3400, exo: 259, note: "60 bytes over Ethernet; figure 2: as much beside nine others"),
  "tlrpc": PaperFigures(table: 12, ultrix: nil, exo: 2.9),
  "filter_insert": PaperFigures(table: nil, ultrix: nil, exo: 220, note: "DPF, SIGCOMM 1996"),
  "dirty_inverted": inverted(8.0, plain: 17.5),
  "prot1_inverted": inverted(23.1, plain: 32.5),
  "prot100_inverted": inverted(253, plain: 213),
  "unprot100_inverted": inverted(325, plain: 275),
  "trap_inverted": inverted(13.9, plain: 13.9),
  "appel1_inverted": inverted(54.4, plain: 74.4),
  "appel2_inverted": inverted(38.8, plain: 45.9),
]

// Table 13 was taken on a slower machine, which is why it repeats the plain page table.
private func inverted(_ figure: Double, plain: Double) -> PaperFigures {
  PaperFigures(
    table: 13, ultrix: nil, exo: figure,
    note: "on a DECstation 2100, where the plain page table took \(plain)")
}
