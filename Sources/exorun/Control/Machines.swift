import ArgumentParser
import Exo
import Glibc
import JSONText
import Synchronization

/// The machines that run and answer.
enum RunningMachines {
  /// A connection to each, in the order of their names.
  static func all() throws(Failure) -> [ControlConnection] {
    do throws(ControlError) {
      guard let folder = try ControlFolder(try ControlFolder.usualPath(), making: false) else { return [] }
      var connections: [ControlConnection] = []
      for name in folder.machines {
        do throws(ControlError) {
          connections.append(ControlConnection(name, try folder.connect(to: name)))
        } catch .noSuchMachine {
          // It has ended, and its socket is removed now.
        }
      }
      return connections
    } catch {
      throw Failure(.usage, "\(error)")
    }
  }

  /// The one that is meant: by name, or the only one.
  static func one(_ name: String?) throws(Failure) -> ControlConnection {
    let running = try all()
    let names = running.map(\.machine).joined(separator: ", ")
    if let name {
      guard let found = running.first(where: { $0.machine == name }) else {
        throw Failure(
          .usage, "no machine `\(name)` is running\(running.isEmpty ? "" : "; there are \(names)")")
      }
      return found
    }
    guard let only = running.first else {
      throw Failure(.usage, "no machine is running (one appears 50 ms after its start)")
    }
    guard running.count == 1 else {
      throw Failure(.usage, "\(running.count) machines are running; choose one with --machine: \(names)")
    }
    return only
  }
}

/// Which machine a command talks to.
struct MachineChoice: ParsableArguments {
  @Option(
    help: ArgumentHelp("The machine to talk to, where several run (`exorun ps` lists them).", valueName: "id")
  )
  var machine: String?

  func connect() throws(Failure) -> ControlConnection { try RunningMachines.one(machine) }
}

/// A signal that is to end a command which watches: noted, and seen by whoever waits for descriptors.
final class WatchEnd {
  private let pipe: OutputPipe
  private let interrupts: Interrupts
  private let writer: Writer

  /// The end that the signal's thread writes to, while there is one: whoever sees the signal first may be done before that thread is.
  private final class Writer: Sendable {
    let number: Mutex<Int32?>
    init(_ number: Int32) { self.number = Mutex(number) }
  }

  /// - Parameter atOnce: what to do on the signal's own thread, so that it is done whatever else is the matter.
  init(atOnce: @escaping @Sendable () -> Void = {}) throws(Failure) {
    let interrupts = Interrupts.watch()
    pipe = try OutputPipe()
    self.interrupts = interrupts
    let writer = Writer(pipe.writer)
    self.writer = writer
    interrupts.onFirst {
      atOnce()
      writer.number.withLock { if let number = $0 { OutputPipe.send(1, to: number) } }
    }
  }
  deinit { writer.number.withLock { $0 = nil } }
  var descriptor: Int32 { pipe.reader }
  var signal: Int32? { interrupts.signal }
}
