import Synchronization
import Testing

@testable import ExosIPCHost

/// Memory for a pipe, as zeroed frames would be.
final class PipeFixture: @unchecked Sendable {
  let memory: PipeMemory
  private let block: UnsafeMutableRawPointer

  init(capacity: Int) {
    block = .allocate(byteCount: 4096 + capacity, alignment: 4096)
    block.initializeMemory(as: UInt8.self, repeating: 0, count: 4096 + capacity)
    memory = PipeMemory(
      control: UInt(bitPattern: block), ring: UInt(bitPattern: block) + 4096, capacity: capacity)
    memory.prepare()
  }
  deinit { block.deallocate() }

  /// What the other end could do with any word.
  func store(_ value: UInt64, at offset: UInt) {
    memory.word(offset).pointee.store(value, ordering: .sequentiallyConsistent)
  }
  func scribble(_ offset: Int, _ byte: UInt8) {
    block.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
  }
}

/// The two ends, as objects, for expectations cannot hold what must not be copied.
final class Writer {
  private var producer: PipeProducer
  init(_ pipe: PipeFixture) { producer = PipeProducer(pipe.memory) }

  func offer(_ bytes: [UInt8], whole: Bool = false) throws -> Int {
    try bytes.withUnsafeBytes { bytes in try producer.offer(bytes, whole: whole) }
  }
  func offerPiece(_ bytes: [UInt8]) throws -> Int {
    try bytes.withUnsafeBytes { bytes in try producer.offerPiece(bytes) }
  }
  func watch(_ turns: Int, for count: Int) { producer.watch(turns, for: count) }
  func mustWakeAfterPieces() -> Bool { producer.mustWakeAfterPieces() }
  func offer(byte: UInt8) throws -> Bool { try producer.offer(byte: byte) }
  func mustWake() -> Bool { producer.mustWake() }
  func announceSleep() { producer.announceSleep() }
  func endSleep() { producer.endSleep() }
  func close() { producer.close() }
}

final class Reader {
  private var consumer: PipeConsumer
  init(_ pipe: PipeFixture) { consumer = PipeConsumer(pipe.memory) }

  /// At most so many bytes; nil if there is nothing yet.
  func take(_ limit: Int) throws -> [UInt8]? {
    var bytes = [UInt8](repeating: 0xee, count: limit)
    let count = try bytes.withUnsafeMutableBytes { bytes in try consumer.take(into: bytes) }
    return count.map { Array(bytes[..<$0]) }
  }
  func takePieces(_ limit: Int) throws -> [UInt8]? {
    var bytes = [UInt8](repeating: 0xee, count: limit)
    let count = try bytes.withUnsafeMutableBytes { bytes in try consumer.takePieces(into: bytes) }
    return count.map { Array(bytes[..<$0]) }
  }
  func mustWakeAfterPieces() -> Bool { consumer.mustWakeAfterPieces() }
  func takeByte() throws -> UInt8? { try consumer.takeByte() }
  func isAtEnd() throws -> Bool { try consumer.isAtEnd() }
  func mustWake() -> Bool { consumer.mustWake() }
  func announceSleep() { consumer.announceSleep() }
  func endSleep() { consumer.endSleep() }
  func close() { consumer.close() }
}

/// The stream that tests send: byte n.
func pattern(_ position: Int) -> UInt8 { UInt8(truncatingIfNeeded: position &* 0x9e37 >> 5 ^ position) }
