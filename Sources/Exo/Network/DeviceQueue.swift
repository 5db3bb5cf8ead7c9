import CKVM
import Glibc
import Synchronization

/// A queue of a device, and the thread that waits for it.
///
/// The thread sleeps in `poll` while nothing comes. Where a processor of the host has nothing else to do it looks again for a moment
/// before it does (`DeviceWatch`), for packets come in company. What is sent is written by whoever sends it.
final class DeviceQueue: Sendable {
  private let descriptor: Descriptor
  /// Bytes of the virtio header before each frame; nil for a stream.
  private let header: CInt?
  private let stream = Mutex(FrameStream())
  private let control: Descriptor
  private let isStopping = Atomic<Bool>(false)
  private let thread = Mutex<HostThread?>(nil)
  private let number: Int
  private let turn: WatchTurn

  /// How long it lets a device alone that is down or gone.
  private static let penance: Int64 = 100_000_000

  /// - Parameters:
  ///   - number: which of the device's queues it is.
  ///   - descriptor: is taken over.
  ///   - turn: shared with the other queues.
  init(
    _ number: Int, _ descriptor: CInt, header: CInt?, _ turn: WatchTurn
  ) throws(HostError) {
    self.number = number
    self.descriptor = Descriptor(descriptor)
    self.header = header
    self.turn = turn
    control = Descriptor(try check("eventfd", ckvm_eventfd()))
  }

  /// Starts its thread, which has what comes delivered.
  /// - Parameter deliver: returns whether anybody was woken.
  func start(_ deliver: @escaping @Sendable (borrowing PacketBatch) -> Bool) throws(HostError) {
    let started = try HostThread(name: "exo-net\(number)") { [self] in run(deliver) }
    thread.withLock { $0 = started }
  }
  func stop() {
    isStopping.store(true, ordering: .sequentiallyConsistent)
    _ = ckvm_eventfd_signal(control.number)
    thread.withLock { $0 }?.join()
  }

  func send(_ batch: borrowing PacketBatch) -> Int {
    if let header { return FrameReader.send(batch, to: descriptor.number, header: header) }
    let (taken, waits) = stream.withLock { stream in
      (stream.send(batch, to: descriptor.number), stream.hasOutgoing)
    }
    // The thread sees to the rest.
    if waits { _ = ckvm_eventfd_signal(control.number) }
    return taken
  }

  private func run(_ deliver: (borrowing PacketBatch) -> Bool) {
    var batch = PacketBatch()
    var reader = FrameReader()
    var watch = DeviceWatch()
    while !isStopping.load(ordering: .sequentiallyConsistent) {
      let hasMore: Bool
      if let header {
        hasMore = reader.receive(descriptor.number, header: header, into: &batch)
      } else {
        hasMore = stream.withLock { $0.receive(descriptor.number, into: &batch) }
      }
      if batch.count > 0 {
        let hasWoken = deliver(batch)
        watch.packetsCame(at: ckvm_monotonic(), mayWatch: turn.take(number, hasWoken: hasWoken))
      }
      if hasMore { continue }
      // Whether something has come since is asked by `poll` itself.
      if watch.goesOn(at: ckvm_monotonic(), mayWatch: turn.take(number, hasWoken: false)) {
        ckvm_pause()
      } else {
        turn.giveBack(number)
        sleep()
      }
    }
  }

  private func sleep() {
    let (wantsToSend, hasEnded) = stream.withLock { ($0.hasOutgoing, $0.hasEnded) }
    var waits = [
      pollfd(fd: control.number, events: Int16(POLLIN), revents: 0),
      pollfd(fd: descriptor.number, events: Int16(wantsToSend ? POLLIN | POLLOUT : POLLIN), revents: 0),
    ]
    _ = unsafe ckvm_poll(&waits, hasEnded ? 1 : 2, -1)
    _ = ckvm_eventfd_drain(control.number)
    if waits[1].revents & Int16(POLLOUT) != 0 { stream.withLock { $0.flush(descriptor.number) } }
    // It is down, or gone: it would say so for ever.
    if waits[1].revents & Int16(POLLERR | POLLHUP | POLLNVAL) != 0 {
      _ = unsafe ckvm_poll(&waits, 1, Self.penance)
    }
  }
}
