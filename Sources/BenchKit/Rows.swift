extension BenchRow {
  /// Every row there is, in the order of the report.
  public static let all: [BenchRow] =
    calls + exceptions + transfer + ipc + vm(.vm, suffix: "") + remote + vm(.invertedVM, suffix: inverted)
    + compute
    + packets + life + share + global + scale

  /// The row of that identifier.
  public static func named(_ id: String) -> BenchRow? { all.first { $0.id == id } }

  /// The row whose operation it is, in other circumstances: how an environment keeps account of its pages is no matter to Linux
  /// and to the bare mechanism, and what is done among many others is done as alone.
  public var work: String {
    switch group {
    case .invertedVM: return String(id.dropLast(Self.inverted.count))
    case .scale:
      let kind = id.prefix { $0 != "_" }
      return kind == "demux" ? "demux_\(crowd ?? 1)" : Self.scaled[String(kind)] ?? id
    default: return id
    }
  }
  /// How many other environments, or processes, there are meanwhile; nil for as many as the row itself makes.
  public var crowd: Int? {
    guard group == .scale, let cut = id.lastIndex(of: "_") else { return nil }
    return Int(id[id.index(after: cut)...])
  }
  private static let inverted = "_inverted"
  private static let scaled = [
    "exocall": "exocall", "transfer": "pct_same_core_sync", "create": "environment_create_pooled",
  ]

  private static let two = "both parties busy, on two processors"
  private static let across = "both parties on two processors, Linux's too"
  private static let served = "caller on the first processor, server polling on the second"

  private static let mixed = "24 jobs, 8 at a time, on two processors"

  private static let calls = [
    row("procedure_call", .calls, "call and return"),
    row("libos_call", .calls, "a system call that needs no authority"),
    row("exocall", .calls, "null call", at: served),
    row("exocall_batch32", .calls, "null call, one of 32 sent together", at: served),
    row("clock", .calls, "read the time in nanoseconds"),
  ]
  private static let exceptions = [
    row("exception_de", .exceptions, "divide by zero, handle, resume"),
    row("exception_bp", .exceptions, "breakpoint, handle, resume"),
    row("exception_gp", .exceptions, "non-canonical load, handle, resume"),
    row("exception_ud", .exceptions, "undefined instruction, handle, resume"),
    row("exception_pf_direct", .exceptions, "write to a read-only page, handle, resume"),
    row("exception_pf_cr2", .exceptions, "the same, and the handler is told the address"),
    row("exception_fp_overflow", .exceptions, "floating-point overflow, handle, resume"),
    row("exception_unaligned", .exceptions, "unaligned load, handle, resume"),
  ]
  private static let transfer = [
    row("pct_cross_core", .transfer, "protected call and its return", at: two),
    row("pct_same_core_sync", .transfer, "protected control transfer, one way"),
    row("pct_same_core_async", .transfer, "asynchronous control transfer, one way"),
    row("yield_to", .transfer, "give the processor to a chosen environment"),
    row(
      "event_injected", .transfer, "interrupt a running environment, one way",
      at: "sender on the second processor, receiver computing on the first"),
    row("event_polled", .transfer, "an event seen in shared memory, one way", at: two),
  ]
  private static let ipc = [
    row("pipe_latency", .ipc, "one byte, one way", at: two),
    row("pipe_inlined", .ipc, "one byte, one way, the pipe compiled in", at: two),
    row("pipe_64k", .ipc, "64 KiB and an answer", at: two),
    row("shm_latency", .ipc, "one word, one way", at: two),
    row("lrpc", .ipc, "procedure call between address spaces"),
    row("tlrpc", .ipc, "the same, the server trusted with the registers"),
    row("mach_port", .ipc, "message to a port and its answer", at: two),
    row("urpc", .ipc, "procedure call between processors", at: two),
    row("pipe_across", .ipc, "one byte, one way", at: across),
    row("shm_across", .ipc, "one word, one way, to one that may sleep", at: across),
  ]
  /// What Exo's own row does, beside a Linux that protects as Exo does, from the other processor.
  private static let remote = [
    row("prot100_remote", .vm, "protect 100 pages that this processor uses, from the other", at: served)
  ]
  private static func vm(_ group: BenchGroup, suffix: String) -> [BenchRow] {
    [
      row("dirty" + suffix, group, "ask whether a page has been written"),
      row("prot1" + suffix, group, "protect one page"),
      row("prot100" + suffix, group, "protect 100 pages"),
      row("unprot100" + suffix, group, "unprotect 100 pages"),
      row("trap" + suffix, group, "write to a protected page, handle, resume"),
      row("appel1" + suffix, group, "fault on a page, protect another, unprotect it"),
      row("appel2" + suffix, group, "protect 100, then fault on and unprotect each; per page"),
    ]
  }
  private static let compute = [
    row("matmul150_int", .compute, "product of two 150x150 matrices of integers"),
    row("matmul150_double", .compute, "product of two 150x150 matrices of doubles"),
    row("matmul1024_double", .compute, "product of two 1024x1024 matrices of doubles"),
  ]
  private static let packets = [
    row("demux_1", .packets, "classify a packet, 1 filter"),
    row("demux_10", .packets, "classify a packet, 10 filters"),
    row("demux_100", .packets, "classify a packet, 100 filters"),
    row("demux_1000", .packets, "classify a packet, 1,000 filters"),
    row("demux_10000", .packets, "classify a packet, 10,000 filters"),
    row("pathfinder_10", .packets, "the same in PATHFINDER's way, 10 filters"),
    row("pathfinder_10000", .packets, "the same in PATHFINDER's way, 10,000 filters"),
    row("filter_insert", .packets, "insert a filter"),
    row("filter_insert_longest", .packets, "the longest insertion of 16,384, one after another"),
    row("udp_rtt", .packets, "60-byte datagram there and back"),
    row("udp_rtt_ash", .packets, "the same, answered by a handler in the kernel"),
    row("udp_rtt_beside_9", .packets, "there and back while nine others compute"),
    row("udp_rtt_ash_beside_9", .packets, "the same, answered by a handler in the kernel"),
  ]
  private static let life = [
    row("machine_start", .life, "a machine, to its first instruction"),
    row("environment_create", .life, "an environment, to its first instruction"),
    row("environment_create_pooled", .life, "the same from a pool of processors"),
    row("launch_hello", .life, "start a program that greets, read its greeting, see it end"),
    row("spawn_wait", .life, "start a program that ends, see it end"),
    row("spawn_apart", .life, "the same, free to run beside who starts it"),
    row("alive_memory", .life, "memory of one of 1,000 that do nothing", .bytes),
    row("parked_memory", .life, "memory of one more that is parked", .bytes),
  ]
  private static let share = [
    row("slice_error", .share, "deviation from 3:1 by slices owned, after 0.96 s", .percent),
    row("stride_error", .share, "deviation from 3:2:1 by tickets, after 46 turns", .percent),
    row("revoke_1", .share, "take back 1 frame"),
    row("revoke_1000", .share, "take back 1,000 frames"),
    row("thread_switch", .share, "from one thread of a program to another"),
  ]
  private static let global = [
    row("global_throughput", .global, "jobs of a fixed mix finished", .rate, at: mixed),
    row("global_latency", .global, "longest time that a job of the mix took", at: mixed),
    row("global_unfairness", .global, "largest deviation of a job from its kind's mean", .percent, at: mixed),
  ]
  private static let scale = [1, 10, 100, 1000].flatMap { count in
    [
      row("exocall_at_\(count)", .scale, "null call beside \(count) others at rest", at: served),
      row("transfer_at_\(count)", .scale, "control transfer, one way, beside \(count) at rest"),
      row("demux_at_\(count)", .scale, "classify a packet, a filter for each of \(count)"),
      row("create_at_\(count)", .scale, "one more environment after \(count)"),
    ]
  }

  private static func row(
    _ id: String, _ group: BenchGroup, _ operation: String, _ unit: BenchUnit = .nanoseconds,
    at placement: String? = nil
  ) -> BenchRow {
    BenchRow(
      id: id, group: group, unit: unit, operation: operation, placement: placement, paper: paperFigures[id])
  }
}
