import CKVM
import Glibc

/// Opening what carries frames.
enum DeviceOpening {
  /// Bytes of the header before each frame of what is opened here.
  static let header = CKVM_FRAME_HEADER

  /// Opens a TAP device: one descriptor for each of its queues, at most `limit`.
  static func tap(_ name: String, limit: Int) throws(HostError) -> [CInt] {
    var queues = [CInt](repeating: -1, count: limit)
    // Writes at most as many as it is told.
    let count = unsafe name.withCString { unsafe ckvm_tap_open($0, &queues, CInt(limit)) }
    return Array(queues.prefix(Int(try check("TAP device \(name)", count))))
  }
  static func interface(_ name: String) throws(HostError) -> CInt {
    try check("interface \(name)", unsafe name.withCString { unsafe ckvm_packet_open($0) })
  }
  /// Bytes of the header before each frame of a TAP device whose queues are open.
  static func header(ofTap queues: [CInt]) throws(HostError) -> CInt {
    let numbers = queues.map(String.init).joined(separator: ",")
    // Reads as many as it is told.
    return try check("TAP descriptor \(numbers)", unsafe ckvm_tap_adopt(queues, CInt(queues.count)))
  }

  /// Two connected stream sockets: ours, and one that a program is given, which inherits it.
  static func streamPair() throws(HostError) -> (own: CInt, other: CInt) {
    var ends: [CInt] = [-1, -1]
    // Fills both.
    try check("socketpair", unsafe ckvm_stream_pair(&ends))
    return (ends[0], ends[1])
  }
}

/// Reads frames of a TAP device or a packet socket, many at a time and without waiting.
struct FrameReader {
  private var frames = [ckvm_frame](repeating: ckvm_frame(), count: Self.most)
  static let most = 64

  /// Reads what is there into a batch. Frames too long for a ring are left out. Returns whether there may be more.
  mutating func receive(_ number: CInt, header: CInt, into batch: inout PacketBatch) -> Bool {
    batch.clear(room: Self.most * PacketRing.size)
    var count: CInt = 0
    unsafe batch.bytes.withUnsafeMutableBytes { bytes in
      // Writes at most as many frames of that size as it is told; there is room for them.
      count = unsafe ckvm_frames_receive(
        number, header, bytes.baseAddress!, UInt32(PacketRing.size), &frames, CInt(Self.most))
    }
    for index in 0..<max(Int(count), 0) {
      let frame = frames[index]
      guard frame.length >= PacketRing.leastLength, frame.length <= PacketRing.size else { continue }
      let start = index * PacketRing.size
      let range = start..<start + Int(frame.length)
      if frame.needs_checksum != 0 {
        batch.completeChecksum(of: range, from: Int(frame.checksum_start), at: Int(frame.checksum_offset))
      }
      batch.add(range)
    }
    return count == CInt(Self.most)
  }

  /// Writes frames without waiting; returns how many were taken.
  static func send(_ batch: borrowing PacketBatch, to number: CInt, header: CInt) -> Int {
    var taken = 0
    for index in 0..<batch.count {
      // Reads as many bytes as it is told.
      let result = unsafe batch.packet(index).withUnsafeBytes { bytes in
        unsafe ckvm_frame_send(number, header, bytes.baseAddress!, UInt32(bytes.count))
      }
      if result >= 0 { taken += 1 }
    }
    return taken
  }
}

/// Frames through a stream, each after its length in four bytes, as QEMU's `-netdev stream` and passt speak.
struct FrameStream {
  private var incoming: [UInt8] = []
  private var outgoing: [UInt8] = []
  private(set) var hasEnded = false
  var hasOutgoing: Bool { !outgoing.isEmpty && !hasEnded }
  /// Most that waits to be sent.
  private static let room = 1 << 18

  /// Reads what is there into a batch. Returns whether there may be more.
  mutating func receive(_ number: CInt, into batch: inout PacketBatch) -> Bool {
    batch.clear(room: 0)
    var block = [UInt8](repeating: 0, count: 65_536)
    // Writes at most as many bytes as it is told.
    let count = unsafe ckvm_stream_read(number, &block, CInt(block.count))
    if count == 0 { hasEnded = true }
    guard count > 0 else { return false }
    incoming += block[..<Int(count)]
    var at = 0
    while at + 4 <= incoming.count {
      let length = incoming[at..<at + 4].reduce(0) { $0 << 8 | Int($1) }
      // Who sends such has lost its place, and so have we.
      guard length <= 1 << 17 else {
        hasEnded = true
        return false
      }
      guard at + 4 + length <= incoming.count else { break }
      if length >= PacketRing.leastLength, length <= PacketRing.size {
        batch.append(incoming[at + 4..<at + 4 + length])
      }
      at += 4 + length
    }
    incoming.removeFirst(at)
    return Int(count) == block.count
  }

  /// Returns how many were taken; what the peer has no room for now goes out later.
  mutating func send(_ batch: borrowing PacketBatch, to number: CInt) -> Int {
    var taken = 0
    for index in 0..<batch.count {
      let packet = batch.packet(index)
      guard !hasEnded, outgoing.count + packet.count + 4 <= Self.room else { break }
      outgoing += (0..<4).map { UInt8(truncatingIfNeeded: packet.count >> (24 - $0 * 8)) }
      outgoing += packet
      taken += 1
    }
    flush(number)
    return taken
  }

  mutating func flush(_ number: CInt) {
    while hasOutgoing {
      // Reads as many bytes as it is told.
      let count = unsafe outgoing.withUnsafeBytes {
        unsafe ckvm_socket_send(number, $0.baseAddress!, CInt($0.count))
      }
      if count == -EAGAIN { return }
      guard count > 0 else {
        hasEnded = true
        return
      }
      outgoing.removeFirst(Int(count))
    }
  }
}
