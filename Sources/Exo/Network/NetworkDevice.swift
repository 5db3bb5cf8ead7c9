/// What a machine's network is connected to.
public enum NetworkAttachment: Hashable, Sendable {
  /// A TAP device, by name; it is made if there is none of that name. Of one with several queues (`IFF_MULTI_QUEUE`) as many are used
  /// as the machine has processors, eight at most.
  case tap(String)
  /// A TAP device that is open, by descriptors, one for each queue, which are taken over.
  case tapDescriptors([Int32])
  /// An interface, such as one end of a veth pair: what comes in there is the machine's.
  case interface(String)
  /// A stream socket on which each frame follows its length in four bytes; taken over.
  case stream(Int32)
}

/// A device: its queues, each with a thread of its own.
///
/// Linux chooses the queue that a packet comes by, so that those of one flow stay in order. What an environment sends goes by the same
/// queue always; Linux has the answers come by it too.
final class NetworkDevice: PacketDevice {
  private let queues: [DeviceQueue]

  /// Most queues that are opened.
  static let queueLimit = 8

  /// - Parameters:
  ///   - processors: of the machine.
  ///   - mayWatch: whether the host has a processor for a thread while it watches, if it has or has not just woken an environment.
  init(
    _ attachment: NetworkAttachment, processors: Int,
    mayWatch: @escaping @Sendable (_ hasWoken: Bool) -> Bool
  ) throws(HostError) {
    let descriptors: [Int32]
    var header: Int32? = DeviceOpening.header
    switch attachment {
    case .tap(let name):
      descriptors = try DeviceOpening.tap(name, limit: min(max(processors, 1), Self.queueLimit))
    case .interface(let name):
      descriptors = [try DeviceOpening.interface(name)]
    case .tapDescriptors(let queues):
      header = try DeviceOpening.header(ofTap: queues)
      descriptors = queues
    case .stream(let number):
      header = nil
      descriptors = [number]
    }
    let turn = WatchTurn(mayWatch)
    var queues: [DeviceQueue] = []
    for descriptor in descriptors {
      queues.append(try DeviceQueue(queues.count, descriptor, header: header, turn))
    }
    self.queues = queues
  }

  /// Starts its threads, which have what comes delivered.
  /// - Parameter deliver: is told the queue; returns whether anybody was woken.
  func start(_ deliver: @escaping @Sendable (borrowing PacketBatch, _ queue: Int) -> Bool) throws(HostError) {
    do throws(HostError) {
      for (number, queue) in queues.enumerated() { try queue.start { deliver($0, number) } }
    } catch {
      stop()
      throw error
    }
  }
  func stop() {
    for queue in queues { queue.stop() }
  }

  func send(_ batch: borrowing PacketBatch, by key: Int) -> Int {
    queues[abs(key % queues.count)].send(batch)
  }
}
