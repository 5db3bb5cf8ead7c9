import CKVM
import Synchronization

/// A packet that passed a machine's switch, as `Machine.capturePackets` tells of it.
public struct CapturedPacket: Sendable {
  /// Monotonic nanoseconds of the host.
  public var time: UInt64
  /// Who sent it; nil if it came from the device.
  public var from: EnvironmentID?
  /// Whose claim it matched; nil if nobody's in the machine.
  public var to: EnvironmentID?
  public var fate: Fate
  /// Bytes of the packet, of which `bytes` are the first.
  public var length: Int
  public var bytes: [UInt8]

  public enum Fate: UInt8, CaseIterable, Sendable {
    /// It lies in the receiver's ring.
    case delivered
    /// The receiver's handler has dealt with it, without waking it.
    case handled
    /// The receiver's ring was full.
    case full
    /// Nobody in the machine has claimed it, and the device was given it. It may be given a packet to a group that was delivered too.
    case device
    /// Nobody has claimed it, and there is no device that it could go to.
    case unclaimed
    /// The sender may not send it.
    case refused
  }
}

extension CapturedPacket {
  func concerns(_ environments: Set<EnvironmentID>) -> Bool {
    from.map(environments.contains) ?? false || to.map(environments.contains) ?? false
  }
}

/// Copies of what passes the switch, while anybody wants them. While nobody does, a packet costs a load and a branch for it.
final class PacketCapture: Sendable {
  /// Bytes of packets kept for a reader; what comes when it has that many is lost to it.
  static let room = 4 << 20

  private let isWanted = Atomic<Bool>(false)
  private let readers = Mutex(Readers())

  private struct Readers {
    var next = 0
    var queues: [Int: Queue] = [:]
  }
  private struct Queue {
    let most: Int
    var packets: [CapturedPacket] = []
    var bytes = 0
    var lost: UInt64 = 0

    mutating func add(_ packet: CapturedPacket) {
      // What is kept of a packet beside its bytes counts too, or empty ones would cost nothing.
      let size = packet.bytes.count + 64
      guard bytes + size <= PacketCapture.room else {
        lost += 1
        return
      }
      bytes += size
      packets.append(packet)
    }
    mutating func take() -> (packets: [CapturedPacket], lost: UInt64) {
      defer { (packets, bytes) = ([], 0) }
      return (packets, lost)
    }
  }

  /// To be called under the network's lock, which comes before this one.
  @inline(__always)
  func take(
    _ packet: ArraySlice<UInt8>, from: EnvironmentID?, to: EnvironmentID?, _ fate: CapturedPacket.Fate
  ) {
    if isWanted.load(ordering: .relaxed) { keep(packet, from: from, to: to, fate) }
  }

  @inline(never)
  private func keep(
    _ packet: ArraySlice<UInt8>, from: EnvironmentID?, to: EnvironmentID?, _ fate: CapturedPacket.Fate
  ) {
    let time = ckvm_monotonic()
    readers.withLock { readers in
      for (id, queue) in readers.queues {
        let captured = CapturedPacket(
          time: time, from: from, to: to, fate: fate, length: packet.count,
          bytes: Array(packet.prefix(queue.most)))
        readers.queues[id]?.add(captured)
      }
    }
  }

  fileprivate func open(_ most: Int) -> Int {
    readers.withLock { readers in
      readers.next += 1
      readers.queues[readers.next] = Queue(most: most)
      isWanted.store(true, ordering: .relaxed)
      return readers.next
    }
  }
  fileprivate func close(_ id: Int) {
    readers.withLock { readers in
      readers.queues[id] = nil
      isWanted.store(!readers.queues.isEmpty, ordering: .relaxed)
    }
  }
  fileprivate func take(_ id: Int) -> (packets: [CapturedPacket], lost: UInt64) {
    readers.withLock { readers in readers.queues[id]?.take() ?? ([], 0) }
  }
}

/// The packets of a machine from now on, until this is let go. Made by `Machine.capturePackets`; for one thread.
public final class PacketReader {
  private let capture: PacketCapture
  private let id: Int
  /// Packets that came while 4 MiB of them were kept.
  public private(set) var lost: UInt64 = 0

  init(_ capture: PacketCapture, _ most: Int) {
    self.capture = capture
    id = capture.open(most)
  }
  deinit { capture.close(id) }

  /// What has passed since the last call, in order.
  public func read() -> [CapturedPacket] {
    let taken = capture.take(id)
    lost = taken.lost
    return taken.packets
  }
}

extension Machine {
  /// Begins to keep copies of the packets that environments send and that come from the device.
  /// - Parameter bytes: kept of each packet, from its start.
  public func capturePackets(bytes: Int = 65_535) -> PacketReader {
    PacketReader(network.capture, max(bytes, 0))
  }
}
