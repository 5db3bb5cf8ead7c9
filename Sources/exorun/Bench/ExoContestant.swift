import BenchKit
import BenchSupport
import Exo
import ExoGuests
import ExoSelftest

/// The exokernel: a guest in an environment runs the row, through whatever an application would use.
final class ExoContestant: Contestant {
  let name = ContestantName.exo
  private let image: GuestImage
  private let machine: Machine
  /// For rows whose two parties are busy on two processors: nobody is left to serve rings but at exits.
  private var wide: (machine: Machine, session: GuestSession)?
  private static let wideRows: Set<String> = [
    "pct_cross_core", "shm_latency", "event_polled", "event_injected", "pipe_latency", "pipe_inlined",
    "pipe_64k", "mach_port", "urpc", "pipe_across", "shm_across", "global_throughput", "global_latency",
    "global_unfairness",
  ]
  private lazy var crowd = Crowd(image)
  /// Of the last sample that had one.
  private var lastSeries: [Double] = []
  private var session: GuestSession?
  private let demux = DemuxRows()
  private let network = NetworkRows()
  private var life: LifeRows

  init() throws(SampleError) {
    guard let bytes = ExoGuests.image("GuestBench") else { throw .unavailable("the guest was not built in") }
    do throws(ImageError) { image = try GuestImage(name: "bench", bytes: bytes) } catch {
      throw .failed("\(error)")
    }
    life = try LifeRows(image)
    do throws(MachineError) { machine = try Machine() } catch { throw .unavailable("\(error)") }
  }
  deinit {
    session?.close()
    machine.stop()
    wide?.session.close()
    wide?.machine.stop()
  }

  func sample(row: BenchRow, iterations: UInt32) throws(SampleError) -> Double? {
    if row.crowd != nil { try crowd.gather(row.crowd ?? 0) } else { crowd.disperse() }
    // Before the others are measured: nine that compute may be in it.
    if !NetworkRows.has(row) { network.end() }
    if let figure = try life.sample(row, iterations, in: crowd.machine) { return figure }
    if let figure = try demux.sample(row, iterations) { return figure }
    if let figure = try network.sample(row, iterations) { return figure }
    let numbers = try ask(row, iterations)
    guard let numbers else { return nil }
    lastSeries = Array(numbers.dropFirst(2))
    switch row.unit {
    case .nanoseconds: return bench_nanoseconds(numbers[0]) / numbers[1]
    case .rate: return numbers[1] * 1e9 / bench_nanoseconds(numbers[0])
    case .bytes, .percent: return numbers[0] / numbers[1]
    }
  }

  /// What the guest answers: two numbers above 0, perhaps more. Nil for a row that it does not have.
  private func ask(_ row: BenchRow, _ iterations: UInt32) throws(SampleError) -> [Double]? {
    let isWide = Self.wideRows.contains(row.id)
    let id = row.group == .scale ? row.work : row.id
    let answer: String
    do throws(SampleError) {
      let session: GuestSession
      if let crowded = crowd.session {
        session = crowded
      } else {
        session = try isWide ? wideSession() : runningSession()
      }
      answer = try session.ask("\(id) \(iterations)\n")
    } catch {
      // It is in nobody knows what state.
      crowd.disperse()
      if isWide { wide = nil } else { session = nil }
      throw error
    }
    if answer == "-" { return nil }
    let numbers = answer.split(separator: " ").compactMap { Double($0) }
    guard numbers.count >= 2, numbers[1] > 0 else { throw .failed(answer) }
    return numbers
  }

  func series(row: BenchRow) -> Series? {
    row.id == "stride_error" ? StrideSeries.of("exo", lastSeries) : nil
  }

  private func runningSession() throws(SampleError) -> GuestSession {
    if let session { return session }
    let library: [UInt8]
    do throws(ImageError) { library = try GuestLibrary.bytes() } catch { throw .failed("\(error)") }
    let started = try GuestSession(
      machine, image, arguments: ["bench"], provisions: [(GuestLibrary.variable, library)])
    session = started
    return started
  }

  private func wideSession() throws(SampleError) -> GuestSession {
    if let wide { return wide.session }
    var configuration = Machine.Configuration()
    configuration.processors = 2
    let machine: Machine
    do throws(MachineError) { machine = try Machine(configuration) } catch { throw .unavailable("\(error)") }
    let session = try GuestSession(machine, image, arguments: ["bench"])
    wide = (machine, session)
    return session
  }

  func describe(row: BenchRow) -> String? {
    guard let crowd = row.crowd else { return descriptions[row.id] }
    return descriptions[row.work].map { "beside \(crowd) environments that wait for input: \($0)" }
  }
}

private let descriptions = [
  "procedure_call": "call and ret in a guest",
  "libos_call": "the environment's number, from the page the exokernel shares",
  "exocall": "null exocall through the ring, served by a polling thread",
  "exocall_batch32": "32 null exocalls submitted before the first answer is taken; per call",
  "clock": "LibOS clock: rdtsc, scaled by what the shared page says",
  "exception_de": "direct gate to a handler of the application",
  "exception_bp": "direct gate to a handler of the application",
  "exception_gp": "direct gate to a handler of the application",
  "exception_ud": "direct gate to a handler of the application",
  "exception_pf_direct": "direct gate to a handler of the application",
  "exception_pf_cr2": "through the nucleus, which hands over the address",
  "exception_fp_overflow": "direct gate to a handler of the application",
  "exception_unaligned": "direct gate to a handler of the application",
  "pct_cross_core":
    "LibOS connection between two environments: a line each way, liveness published beside it; round trip",
  "pct_same_core_sync": "call through a gate and back, registers cleared and restored; one way",
  "pct_same_core_async": "the same, to a callee that may keep the rest of the slice; one way",
  "yield_to": "yield to a named environment; one way",
  "event_injected": "event_post exocall, served at the sender's exit, to the receiver's handler",
  "event_polled": "a line of a connection, one way",
  "pipe_latency":
    "LibOS pipe on a connection's page between two processors: back-pressure, end of stream, sleep; one way",
  "pipe_inlined": "the same compiled into both ends, which watch and do not sleep; one way",
  "pipe_64k":
    "LibOS pipe of 8 KiB in shared frames between two processors: one write, copied in and out in pieces of 4 KiB",
  "mach_port":
    "LibOS port: a message to an environment on the other processor, and its answer; the exokernel keeps who may send",
  "urpc":
    "LibOS call to an environment on the other processor: a line each way; who waits long sleeps",
  "pipe_across": "as pipe_latency",
  "shm_across": "half a call as in urpc: a line stored, and seen by who watches and then sleeps",
  "spawn_wait":
    "LibOS process from an image in memory, with arguments, run on its maker's time in an environment in which another has ended",
  "spawn_apart":
    "LibOS process from an image in memory, with arguments, in an environment and on a virtual processor of its own, to the answer that it has ended",
  "shm_latency": "a line of a connection, one way",
  "slice_error":
    "two environments that compute own 36 and 12 of the 48 slots; over three rounds of the vector",
  "stride_error": "LibOS stride scheduler, which gives its slices by 3, 2 and 1 tickets",
  "thread_switch": "yield between two threads of the LibOS; one way",
  "global_throughput": "jobs in environments, each on one processor for good",
  "global_latency": "jobs in environments, each on one processor for good",
  "global_unfairness": "jobs in environments, each on one processor for good",
  "revoke_1": "request for a frame to a sleeping environment, which gives it; until the answer",
  "revoke_1000": "the same for 1,000 frames",
  "lrpc": "call through a gate and back; neither trusts the other with registers",
  "tlrpc": "the same, the client trusts the server with its registers",
  "dirty": "the dirty bit in the environment's own page table, which it may read",
  "appel1": "LibOS fault handler by direct gate and two protect exocalls sent together; per page",
  "appel2":
    "protect exocall for 100, then LibOS fault handler by direct gate and protect exocall for each; per page",
  "dirty_inverted": "inverted page table, then the dirty bit in the page table that may be read",
  "prot1_inverted": "inverted page table, then protect exocall",
  "prot100_inverted": "inverted page table for each, then one protect exocall",
  "unprot100_inverted": "inverted page table for each, then one protect exocall",
  "trap_inverted": "direct gate, address from the instruction, inverted page table",
  "appel1_inverted":
    "LibOS fault handler, inverted page table and two protect exocalls sent together; per page",
  "appel2_inverted": "the same with protect exocall for 100 first and one for each; per page",
  "prot1": "protect exocall",
  "prot100": "one protect exocall",
  "prot100_remote": "one protect exocall, which the other processor serves",
  "unprot100": "one protect exocall",
  "trap": "direct gate to a handler of the application",
  "matmul150_int": "the same Swift source as linux",
  "matmul150_double": "the same Swift source as linux",
  "matmul1024_double": "the same Swift source as linux",
  "demux_1": "filters merged and compiled",
  "demux_10": "filters merged and compiled",
  "demux_100": "filters merged and compiled",
  "demux_1000": "filters merged and compiled",
  "demux_10000": "filters merged and compiled",
  "pathfinder_10": "filters merged and compiled, as demux_10",
  "pathfinder_10000": "filters merged and compiled, as demux_10000",
  "udp_rtt": "the LibOS's UDP in a guest, frames of one end of a veth pair by AF_PACKET",
  "udp_rtt_ash":
    "the same, answered by a handler of 36 instructions, compiled, in the thread that receives",
  "udp_rtt_beside_9": "the same beside nine environments that compute on its processor",
  "udp_rtt_ash_beside_9": "a handler beside nine environments that compute on the processor of its own",
  "filter_insert_longest":
    "into none to 16,383 filters merged and compiled; of each insertion the best of five counts, for others interrupt",
  "filter_insert": "into 10,000 filters merged and compiled, which goes on with the next packet",
  "machine_start": "a machine of 64 MiB and the smallest environment, to its first instruction",
  "environment_create":
    "launch of the smallest image in a running machine, on a new vCPU, to its first instruction",
  "environment_create_pooled":
    "launch of the smallest image in a running machine, on a used vCPU, to its first instruction",
  "alive_memory":
    "1,000 environments that wait for input, 64 of them with a vCPU: what the host has less than before, the machine's own memory left out",
  "parked_memory":
    "what the host has less for each more that is parked, from 500 environments to 1,000; the machine's own memory left out",
  "launch_hello": "exorun launch hello as a process of its own, from spawn to wait",
]
