import ExosNetwork
import ExosThreads
import LibOS
import _Concurrency

/// UDP for tasks. While they wait a thread moves packets, and sleeps where there are none.
///
///     let network = try AsyncNetwork(NetworkInterface())
///     try Tasks.run {
///       guard let socket = try? network.socket(port: 7) else { return }
///       while let datagram = await socket.receive() { try? socket.send(datagram.payload, to: datagram.from) }
///     }
public final class AsyncNetwork: @unchecked Sendable {
  fileprivate struct Waiting {
    let socket: UDPSocket
    let deadline: UInt64
    let continuation: UnsafeContinuation<Datagram?, Never>
  }
  fileprivate let interface: NetworkInterface
  /// Changed under the threads' mask only, as all of the interface is.
  private var waiting: [Waiting] = []
  /// Rung when packets have come or somebody has begun to wait; once, until it is heard.
  private let bell = Bell()

  private final class Bell {
    private let channel = Channel<Bool>()
    private var isRung = false

    func ring() {
      Threads.exclusively {
        guard !isRung else { return }
        isRung = true
        try? channel.send(true)
      }
    }
    func wait() {
      _ = try? channel.receive()
      isRung = false
    }
  }

  /// Has an interface, whose addresses are configured, serve tasks. Threads must have begun; nobody else may use it from then on.
  /// - Throws: `outOfMemory`.
  public init(_ interface: NetworkInterface) throws(ThreadError) {
    self.interface = interface
    let before = Threads.onEvent
    let bell = bell
    Threads.onEvent = { event in
      if event.kind == Events.Kind.packets.rawValue { bell.ring() }
      before?(event)
    }
    try Threads.spawn { [self] in serve() }
  }

  /// Opens a port.
  /// - Parameter port: nil for one that is free.
  /// - Throws: `portInUse`.
  public func socket(port: UInt16? = nil) throws(NetworkError) -> AsyncUDPSocket {
    try Threads.exclusively { () throws(NetworkError) in
      AsyncUDPSocket(self, try UDPSocket(interface.stack, port: port))
    }
  }

  fileprivate func wait(_ new: Waiting) {
    Threads.exclusively { waiting.append(new) }
    bell.ring()
  }

  private func serve() {
    while true {
      let due = Threads.exclusively { () -> UInt64 in
        interface.poll()
        hand(at: Clock.now)
        interface.ring.wish()
        return waiting.reduce(interface.stack.due) { min($0, $1.deadline) }
      }
      if interface.ring.hasPackets { continue }
      if due < .max {
        // The bell does not end this sleep: it is short.
        Threads.sleep(until: min(due, Clock.now + 1_000_000))
        continue
      }
      // Others may send what these wait for: that is no deadlock.
      Threads.exclusively { Threads.waitsOutside += 1 }
      bell.wait()
      Threads.exclusively { Threads.waitsOutside -= 1 }
    }
  }

  /// Gives those who wait what has come for them. They go on in the thread of the tasks, which alone may touch them.
  private func hand(at now: UInt64) {
    var left: [Waiting] = []
    for one in waiting {
      let datagram = one.socket.receive()
      if datagram == nil, now < one.deadline {
        left.append(one)
      } else {
        Tasks.resume(one.continuation, with: datagram)
      }
    }
    waiting = left
  }
}

/// A port that tasks wait at.
public final class AsyncUDPSocket: @unchecked Sendable {
  private let network: AsyncNetwork
  private let socket: UDPSocket

  fileprivate init(_ network: AsyncNetwork, _ socket: UDPSocket) {
    self.network = network
    self.socket = socket
  }

  public var port: UInt16 { socket.port }

  /// The oldest datagram, when there is one; nil if a time of `Clock.now` comes first.
  public func receive(until deadline: UInt64 = .max) async -> Datagram? {
    await withUnsafeContinuation { continuation in
      network.wait(
        AsyncNetwork.Waiting(socket: socket, deadline: deadline, continuation: continuation))
    }
  }

  /// Sends at once.
  /// - Throws: `noAddress`, `noRoute`, `tooLarge`.
  public func send(_ payload: [UInt8], to endpoint: Endpoint) throws(NetworkError) {
    try Threads.exclusively { () throws(NetworkError) in
      try network.interface.send(payload, from: socket, to: endpoint)
    }
  }
}
