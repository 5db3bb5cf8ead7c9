import BenchKit
import Testing

@Suite struct RowTests {
  @Test func identifiersAreUnique() {
    #expect(Set(BenchRow.all.map(\.id)).count == BenchRow.all.count)
  }

  @Test func everyGroupHasRows() {
    for group in BenchGroup.allCases { #expect(BenchRow.all.contains { $0.group == group }, "\(group)") }
  }

  /// Results compare over time: these names do not change.
  @Test(arguments: [
    ("calls", "procedure_call libos_call exocall exocall_batch32 clock"),
    (
      "exceptions",
      "exception_de exception_bp exception_gp exception_ud exception_pf_direct exception_pf_cr2 exception_fp_overflow exception_unaligned"
    ),
    (
      "transfer",
      "pct_cross_core pct_same_core_sync pct_same_core_async yield_to event_injected event_polled"
    ),
    (
      "ipc",
      "pipe_latency pipe_inlined pipe_64k shm_latency lrpc tlrpc mach_port urpc pipe_across shm_across"
    ),
    ("vm", "dirty prot1 prot100 unprot100 trap appel1 appel2 prot100_remote"),
    ("compute", "matmul150_int matmul150_double matmul1024_double"),
    (
      "packets",
      "demux_1 demux_10 demux_100 demux_1000 demux_10000 pathfinder_10 pathfinder_10000 filter_insert filter_insert_longest udp_rtt udp_rtt_ash udp_rtt_beside_9 udp_rtt_ash_beside_9"
    ),
    (
      "life",
      "machine_start environment_create environment_create_pooled launch_hello spawn_wait spawn_apart alive_memory parked_memory"
    ),
    ("share", "slice_error stride_error revoke_1 revoke_1000 thread_switch"),
    ("global", "global_throughput global_latency global_unfairness"),
  ])
  func identifiersAreFixed(group: String, ids: String) {
    #expect(
      BenchRow.all.filter { $0.group.rawValue == group }.map(\.id)
        == ids.split(separator: " ").map(String.init))
  }

  @Test func paperFiguresBelongToRows() throws {
    #expect(
      try row("exocall").paper
        == PaperFigures(table: 4, ultrix: 21.3, exo: 1.6, note: "2.3 for calls that need a stack"))
    #expect(try row("trap").paper?.ultrix == 161)
    #expect(try row("clock").paper == nil)
    #expect(BenchRow.all.filter { $0.paper != nil }.count == 30)
  }
}
