import BenchLoops
import ExosIPC
import ExosThreads
import GuestRuntime
import LibOS

/// Runs rows of the benchmark. Started as `wait` it says that it runs, and stays until its input ends. Otherwise each read of its input is a command, `row count`; the answer is a line with
/// the clock ticks that the operations took and how many they were, perhaps with a series, or `-` for a row it does not have, or
/// why it could not be run.
@main enum BenchGuest {
  static func main() {
    if Arguments.name == "wait" {
      print("waiting")
      _ = Command.read()
      return
    }
    if Arguments.name == "count" { return Counts.run() }
    while let command = Command.read() {
      answer(command)
    }
  }

  private static func answer(_ command: Command) {
    Refusal.reason = "-"
    guard let timing = run(command) else { return print(Refusal.reason) }
    print(timing.series.reduce("\(timing.ticks) \(timing.operations)") { "\($0) \($1)" })
  }

  private static func run(_ command: Command) -> Timing? {
    switch command.row {
    case "procedure_call": Timing(bench_loop_call(command.count), command.count)
    case "libos_call": timed(command) { bench_use(environmentNumber()) }
    case "exocall": timed(command) { try? Exocall.null() }
    case "exocall_batch32": Batch.run(command)
    case "nucleus_call": NucleusCalls.areOffered ? timed(command) { NucleusCalls.null() } : nil
    case "clock": timed(command) { bench_use(Clock.now) }
    case "matmul150_int": Products.integers(command, size: 150)
    case "matmul150_double": Products.doubles(command, size: 150)
    case "matmul1024_double": Products.vectors(command, size: 1024)
    case "prot1": Protection.one(command)
    case "prot100", "prot100_remote": Protection.hundred(command, restoring: false)
    case "unprot100": Protection.hundred(command, restoring: true)
    case "dirty": AppelLi.dirty(command)
    case "appel1": AppelLi.one(command)
    case "appel2": AppelLi.two(command)
    case "pct_same_core_sync": Transfers.oneWay(command)
    case "pct_same_core_async": Transfers.handing(command)
    case "yield_to": Yields.only(command)
    case "slice_error": Shares.slices(command)
    case "stride_error": Strides.error()
    case "thread_switch": ThreadSwitches.run(command)
    case "global_throughput": Mix.run(.throughput)
    case "global_latency": Mix.run(.latency)
    case "global_unfairness": Mix.run(.unfairness)
    case "revoke_1": Shares.revocation(command, frames: 1)
    case "revoke_1000": Shares.revocation(command, frames: 1000)
    case "lrpc": Transfers.call(command)
    case "tlrpc": Transfers.callTrusting(command)
    case "pct_cross_core": Lines.roundTrip(command)
    case "shm_latency", "event_polled": Lines.oneWay(command)
    case "urpc": LineCalls.run(command)
    case "shm_across": LineCalls.oneWay(command)
    case "pipe_latency", "pipe_across": Pipes.oneWay(command)
    case "pipe_inlined": Pipes.inlined(command)
    case "pipe_64k": Pipes.blocks(command)
    case "mach_port": Ports.run(command)
    case "spawn_wait": Spawns.run(command)
    case "spawn_apart": Spawns.apart(command)
    case "event_injected": Injection.run(command)
    default: command.row.hasSuffix("_inverted") ? Inverted.run(command) : ExceptionRows.run(command)
    }
  }

  /// A system call of this LibOS that needs no authority: the exokernel left the answer in memory.
  @inline(never)
  private static func environmentNumber() -> UInt64 { UInt64(Startup.page.pointee.environment) }
}
