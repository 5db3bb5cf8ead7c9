import BenchKit
import BenchSupport
import Exo
import Glibc

/// Rows about beginnings. The guest is as small as the floor's: its first instruction reads the time-stamp counter, which host
/// and guests share, the next ones end it, and the report tells what was read. What a real image costs is in `launch_hello`.
struct LifeRows {
  private let image: GuestImage
  private let first: GuestImage
  private let sleeper: GuestImage
  private var machine: Machine?
  /// Environments that are kept so that the next needs a vCPU of its own; more than this need a new machine.
  private static let crowd = 16
  /// How many have ended in a machine before the time is taken that one from its pools takes.
  private static let ended = 24

  /// - Parameter image: the benchmark's, for the row that wants a thousand environments that wait.
  init(_ image: GuestImage) throws(SampleError) {
    self.image = image
    do throws(ImageError) {
      first = try ProbeImage.make("first", ProbeImage.first)
      sleeper = try ProbeImage.make("sleeper", ProbeImage.sleeps)
    } catch { throw .failed("\(error)") }
  }

  /// Nil: no row of these.
  /// - Parameter crowded: a machine with others in it, for the rows that want one.
  mutating func sample(
    _ row: BenchRow, _ iterations: UInt32, in crowded: Machine?
  ) throws(SampleError) -> Double? {
    var total = 0.0
    switch row.work {
    case "machine_start":
      for _ in 0..<iterations { total += try startMachine() }
    case "environment_create":
      for first in stride(from: 0, to: Int(iterations), by: Self.crowd) {
        total += try createOnNew(min(Self.crowd, Int(iterations) - first))
      }
    case "environment_create_pooled":
      if let crowded {
        total = try createPooled(Int(iterations), in: crowded)
      } else {
        total = try createPooled(Int(iterations))
      }
    case "launch_hello":
      for _ in 0..<iterations { total += try launchProcess(["exorun", "launch", "hello"]) }
    case "alive_memory": return try ParkedMemory.ofAlive(image)
    case "parked_memory": return try ParkedMemory.ofParked(image)
    default: return nil
    }
    return total / Double(iterations)
  }

  private func startMachine() throws(SampleError) -> Double {
    let begin = bench_ticks()
    let machine = try makeMachine()
    defer { machine.stop() }
    return try firstInstruction(in: machine, since: begin)
  }

  /// Each beside one more that sleeps, which took the vCPU that the one before left.
  private func createOnNew(_ count: Int) throws(SampleError) -> Double {
    let machine = try makeMachine()
    defer { machine.stop() }
    // The first one in a machine also measures what the machine is.
    _ = try firstInstruction(in: machine, since: bench_ticks())
    var total = 0.0
    for _ in 0..<count {
      _ = try launch(sleeper, in: machine)
      usleep(2000)  // until it sleeps
      total += try firstInstruction(in: machine, since: bench_ticks())
    }
    return total
  }

  private mutating func createPooled(_ count: Int) throws(SampleError) -> Double {
    guard let machine else {
      machine = try makeMachine()
      // Page tables of ones that have ended are forgotten eight at a time, and serve again then: until some have, each is new.
      _ = try createPooled(Self.ended)
      return try createPooled(count)
    }
    return try createPooled(count, in: machine)
  }
  private func createPooled(_ count: Int, in machine: Machine) throws(SampleError) -> Double {
    var total = 0.0
    for _ in 0..<count {
      total += try firstInstruction(in: machine, since: bench_ticks())
      usleep(2000)  // until its vCPU is free, and nobody polls for more
    }
    return total
  }

  private func makeMachine() throws(SampleError) -> Machine {
    do throws(MachineError) { return try Machine() } catch { throw .failed("\(error)") }
  }

  private func launch(_ image: GuestImage, in machine: Machine) throws(SampleError) -> Environment {
    do throws(LaunchError) {
      return try machine.launch(image, arguments: [image.name], timeLimit: .seconds(60))
    } catch { throw .failed("\(error)") }
  }

  /// Nanoseconds from a moment, told in ticks, to the first instruction of an environment that is launched now.
  private func firstInstruction(in machine: Machine, since begin: UInt64) throws(SampleError) -> Double {
    let outcome = try launch(first, in: machine).waitForOutcome()
    guard case .faulted(let report) = outcome else { throw .failed("the guest \(outcome.summary)") }
    return bench_nanoseconds(Double(report.registers.rax &- begin))
  }
}

func monotonicNanoseconds() -> Double { monotonicSeconds() * 1e9 }
