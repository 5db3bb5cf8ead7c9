import BenchKit
import Exo
import Glibc

/// Rows about beginnings. The guest says, by the clock that host and guests share, when its first statement ran.
struct LifeRows {
  private let image: GuestImage
  private var machine: Machine?
  /// Environments that are kept so that the next needs a vCPU of its own; more than this need a new machine.
  private static let crowd = 16

  init(_ image: GuestImage) { self.image = image }

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
    case "parked_memory": return try ParkedMemory.sample(image)
    default: return nil
    }
    return total / Double(iterations)
  }

  private func startMachine() throws(SampleError) -> Double {
    let begin = monotonicNanoseconds()
    let machine = try makeMachine()
    defer { machine.stop() }
    return try first(GuestSession(machine, image, arguments: ["first"])) - begin
  }

  /// Environments that all stay, so that no vCPU becomes free.
  private func createOnNew(_ count: Int) throws(SampleError) -> Double {
    let machine = try makeMachine()
    defer { machine.stop() }
    // The first one in a machine also measures what the machine is.
    var all = [try GuestSession(machine, image, arguments: ["first", "wait"])]
    _ = try first(all[0])
    var total = 0.0
    for _ in 0..<count {
      usleep(2000)  // until the one before has gone to sleep
      let session = try GuestSession(machine, image, arguments: ["first", "wait"])
      total += try first(session) - session.launched
      all.append(session)
    }
    return total
  }

  private mutating func createPooled(_ count: Int) throws(SampleError) -> Double {
    guard let machine else {
      machine = try makeMachine()
      _ = try createPooled(1)
      return try createPooled(count)
    }
    return try createPooled(count, in: machine)
  }
  private func createPooled(_ count: Int, in machine: Machine) throws(SampleError) -> Double {
    var total = 0.0
    for _ in 0..<count {
      let session = try GuestSession(machine, image, arguments: ["first"])
      total += try first(session) - session.launched
      usleep(2000)  // until it has ended and its vCPU is free
    }
    return total
  }

  private func makeMachine() throws(SampleError) -> Machine {
    do throws(MachineError) { return try Machine() } catch { throw .failed("\(error)") }
  }

  /// When the guest's first statement ran.
  private func first(_ session: GuestSession) throws(SampleError) -> Double {
    let line = try session.line()
    guard let time = Double(line) else { throw .failed("the guest says \"\(line)\"") }
    return time
  }
}

func monotonicNanoseconds() -> Double { monotonicSeconds() * 1e9 }
