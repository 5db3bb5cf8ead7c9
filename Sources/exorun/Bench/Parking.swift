import BenchKit
import Exo
import Glibc
import Synchronization

/// A machine with environments that wait for input that does not come.
final class Parking {
  let machine: Machine
  private let image: GuestImage
  private let silence: Pipe
  private let greetings = Greetings()
  /// How many there are.
  private(set) var count = 0

  private final class Greetings: Sendable {
    let count = Atomic<Int>(0)
  }

  init(_ image: GuestImage) throws(SampleError) {
    self.image = image
    silence = try Pipe()
    var configuration = Machine.Configuration()
    configuration.memory = 1 << 30
    do throws(MachineError) { machine = try Machine(configuration) } catch { throw .failed("\(error)") }
  }

  /// Launches more of them and waits until all have said that they run, and gone to sleep.
  func park(_ more: Int) throws(SampleError) {
    count += more
    for _ in 0..<more {
      do throws(LaunchError) {
        _ = try machine.launch(
          image, arguments: ["wait"],
          console: Console(
            input: .descriptor(silence.readEnd),
            output: .handler { [greetings] _ in greetings.count.add(1, ordering: .relaxed) }))
      } catch { throw .failed("\(error)") }
    }
    let end = monotonicNanoseconds() + 60e9
    while greetings.count.load(ordering: .relaxed) < count {
      guard monotonicNanoseconds() < end else { throw .failed("not all of the environments run") }
      usleep(1000)
    }
    usleep(30_000)
  }
}

/// The rows that are measured beside many others: the environment that is measured is in their machine.
final class Crowd {
  private let image: GuestImage
  private var parking: Parking?
  private(set) var session: GuestSession?

  init(_ image: GuestImage) { self.image = image }
  deinit { disperse() }

  /// The machine they are in; nil while there is no crowd.
  var machine: Machine? { parking?.machine }

  /// Sees that there are so many.
  func gather(_ count: Int) throws(SampleError) {
    if let parking, parking.count > count { disperse() }
    do throws(SampleError) {
      if parking == nil {
        let made = try Parking(image)
        parking = made
        session = try GuestSession(made.machine, image, arguments: ["bench"])
      }
      if let parking, parking.count < count { try parking.park(count - parking.count) }
    } catch {
      disperse()
      throw error
    }
  }

  func disperse() {
    session?.close()
    session = nil
    parking?.machine.stop()
    parking = nil
  }
}
