import CKVM
import Glibc
import Synchronization

/// Answers what `exorun ps`, `top`, `trace` and `kill` ask of a machine, on a Unix socket that only the machine's user can
/// reach. docs/control.md says what is spoken.
///
/// A thread of its own, which waits for nobody: requests are bounded, answers that are not read are kept within bounds,
/// and of the machine's locks it takes only what a snapshot takes, each for a moment.
final class ControlServer: Sendable {
  private let machine: Machine
  private let folder: ControlFolder
  private let listener: Descriptor
  private let control: Descriptor
  /// What the machine is called: the name of its socket without `.sock`.
  let name: String
  private let isStopping = Atomic<Bool>(false)
  private let thread = Mutex<HostThread?>(nil)

  private static let clientLimit = 16
  /// How often the lanes of a trace are emptied.
  private static let traceInterval: UInt64 = 10_000_000
  /// How long clients have, when the machine ends, to take what was written for them.
  private static let farewell: UInt64 = 100_000_000

  init(_ machine: Machine, folder path: String) throws(ControlError) {
    guard let folder = try ControlFolder(path, making: true) else { throw .noFolder }
    let control = ckvm_eventfd()
    guard control >= 0 else { throw .folder(path: path, HostError("eventfd", control)) }
    self.control = Descriptor(control)
    let (socket, name) = try folder.listen()
    listener = Descriptor(socket)
    self.name = name
    self.folder = folder
    self.machine = machine
  }

  func start() throws(HostError) {
    let started = try HostThread(name: "exo-control") { [self] in run() }
    thread.withLock { $0 = started }
  }

  /// Ends the thread and removes the socket.
  func stop() {
    folder.remove(name)
    isStopping.store(true, ordering: .sequentiallyConsistent)
    _ = ckvm_eventfd_signal(control.number)
    thread.withLock { $0 }?.join()
  }

  private func run() {
    var clients: [ControlClient] = []
    while !isStopping.load(ordering: .sequentiallyConsistent) {
      let now = ckvm_monotonic()
      var waits = [
        pollfd(fd: control.number, events: Int16(POLLIN), revents: 0),
        pollfd(fd: listener.number, events: Int16(POLLIN), revents: 0),
      ]
      waits += clients.map { $0.interest(at: now) }
      poll(&waits, for: clients, at: now)
      let time = ckvm_monotonic()
      for (client, wait) in zip(clients, waits.dropFirst(2)) { client.advance(wait.revents, at: time) }
      clients.removeAll(where: \.isGone)
      if waits[1].revents != 0 { accept(&clients) }
    }
    sayFarewell(clients)
  }

  private func poll(_ waits: inout [pollfd], for clients: [ControlClient], at now: UInt64) {
    var until: UInt64 = .max
    for client in clients {
      until = min(until, client.isTracing ? now &+ Self.traceInterval : client.wakeTime)
    }
    let left: Int64 = until == .max ? -1 : until > now ? Int64(clamping: until - now) : 0
    _ = unsafe ckvm_poll(&waits, CInt(waits.count), left)
    _ = ckvm_eventfd_drain(control.number)
  }

  private func accept(_ clients: inout [ControlClient]) {
    let socket = ckvm_socket_accept(listener.number)
    guard socket >= 0 else {
      // Out of descriptors: not at once again.
      if socket != -EAGAIN { usleep(10_000) }
      return
    }
    // The client's copy keeps the descriptor from being another's while an environment's end may still be told.
    let client = ControlClient(socket, of: machine) { [self] in _ = ckvm_eventfd_signal(control.number) }
    var user: UInt32 = .max
    // Writes one number.
    let known = unsafe ckvm_socket_peer(socket, &user)
    if known < 0 || (user != geteuid() && user != 0) {
      client.turnAway(.notYourMachine)
    } else if clients.count >= Self.clientLimit {
      client.turnAway(.busy)
    } else {
      clients.append(client)
    }
  }

  private func sayFarewell(_ all: [ControlClient]) {
    var clients = all
    let began = ckvm_monotonic()
    for client in clients { client.end(at: began &- machine.birth) }
    clients.removeAll(where: \.isGone)
    while !clients.isEmpty {
      let spent = ckvm_monotonic() &- began
      guard spent < Self.farewell else { return }
      var waits = clients.map { pollfd(fd: $0.socket, events: Int16(POLLOUT), revents: 0) }
      _ = unsafe ckvm_poll(&waits, CInt(waits.count), Int64(Self.farewell - spent))
      for client in clients { client.sendRest() }
      clients.removeAll(where: \.isGone)
    }
  }
}

extension Machine {
  /// Whether, and where, a machine answers `exorun ps`, `top`, `trace` and `kill`.
  public struct ControlOptions: Sendable {
    /// The folder of the socket; `ControlFolder.usualPath` if nil.
    public var folder: String?
    /// How old the machine is when the socket appears: one that ends sooner never has the cost.
    public var delay: Duration = .milliseconds(50)
    public init() {}
  }

  /// The name its control socket has, once it has one.
  public var controlName: String? { control.withLock { $0?.name } }

  /// Opens the control socket, on the service's thread. Without one the machine runs all the same.
  func openControl(_ options: ControlOptions) {
    control.withLock { control in
      guard control == nil, !isStopped else { return }
      do {
        let path: String
        if let folder = options.folder { path = folder } else { path = try ControlFolder.usualPath() }
        let server = try ControlServer(self, folder: path)
        do { try server.start() } catch {
          server.stop()
          throw error
        }
        control = server
      } catch {
        configuration.logger.notice("no control socket: \(error)")
      }
    }
  }

  /// Closes it. The machine must have been marked as stopped.
  func closeControl() {
    let server = control.withLock { control in
      defer { control = nil }
      return control
    }
    server?.stop()
  }
}
