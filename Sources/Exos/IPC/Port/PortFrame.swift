/// How messages lie in a stream, one after the other.
///
///     8 bytes   length of the text | how many rights << 16 | of what kind << 24 | id << 32
///     8 bytes   for each right: its handle in the receiver's table
///     the text
///
/// A message is written in one piece. One of 40 bytes and no right goes from processor to processor in a single line.
public struct PortFrame {
  public static var longest: Int { 896 }
  public static var mostRights: Int { 4 }
  static var headerSize: Int { 8 }

  enum Kind: UInt8 { case message, reply }

  var kind: Kind
  /// What the message is about, as its sender says.
  public var id: UInt32
  /// In the framer's memory, until the next message is asked for.
  public var text: UnsafeRawBufferPointer
  var rights: UnsafeRawBufferPointer

  public var rightCount: Int { rights.count / 8 }
  public func right(_ index: Int) -> UInt64 {
    rights.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)
  }

  static func header(text: Int, rights: Int, _ kind: Kind, id: UInt32) -> UInt64 {
    UInt64(text) | UInt64(rights) << 16 | UInt64(kind.rawValue) << 24 | UInt64(id) << 32
  }
}

/// Takes messages out of a pipe: logic without a machine. What comes is copied first and looked at then, so that the peer
/// cannot change it in between.
public struct PortFramer: ~Copyable {
  private let memory: UnsafeMutableRawBufferPointer
  private var start = 0
  private var end = 0

  public init() { memory = .allocate(byteCount: 2048, alignment: 16) }
  deinit { memory.deallocate() }

  /// The next message; nil if none is there as a whole.
  /// - Throws: `dead` once the peer has closed and all was taken; `corrupt` for what is no message.
  public mutating func next(from consumer: inout PipeConsumer) throws(PortError) -> PortFrame? {
    while true {
      if let frame = try parse() { return frame }
      if start > 0 {
        memory.baseAddress?.copyMemory(
          from: UnsafeRawPointer(memory.baseAddress.unsafelyUnwrapped) + start, byteCount: end - start)
        end -= start
        start = 0
      }
      let count: Int?
      do throws(PipeError) {
        count = try consumer.take(into: UnsafeMutableRawBufferPointer(rebasing: memory[end...]))
      } catch { throw PortError(error) }
      guard let count else { return nil }
      // The end of the stream within a message is no end.
      if count == 0 { throw end > 0 ? .corrupt : .dead }
      end += count
    }
  }

  private mutating func parse() throws(PortError) -> PortFrame? {
    let held = end - start
    guard held >= PortFrame.headerSize else { return nil }
    let header = memory.loadUnaligned(fromByteOffset: start, as: UInt64.self)
    let (text, rights) = (Int(header & 0xffff), Int(header >> 16 & 0xff))
    guard text <= PortFrame.longest, rights <= PortFrame.mostRights,
      let kind = PortFrame.Kind(rawValue: UInt8(truncatingIfNeeded: header >> 24))
    else { throw .corrupt }
    let from = start + PortFrame.headerSize
    guard held >= PortFrame.headerSize + rights * 8 + text else { return nil }
    start = from + rights * 8 + text
    return PortFrame(
      kind: kind, id: UInt32(truncatingIfNeeded: header >> 32),
      text: UnsafeRawBufferPointer(rebasing: memory[from + rights * 8..<start]),
      rights: UnsafeRawBufferPointer(rebasing: memory[from..<from + rights * 8]))
  }
}

extension PipeProducer {
  /// Writes a message; false if there is no room for it.
  /// - Throws: `dead`, `tooLong`, `corrupt`.
  mutating func offer(
    _ kind: PortFrame.Kind, id: UInt32, _ text: UnsafeRawBufferPointer, rights: [UInt64]
  ) throws(PortError) -> Bool {
    guard text.count <= PortFrame.longest, rights.count <= PortFrame.mostRights else { throw .tooLong }
    return try withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 16) { (scratch) throws(PortError) in
      let header = PortFrame.header(text: text.count, rights: rights.count, kind, id: id)
      scratch.storeBytes(of: header, as: UInt64.self)
      var size = PortFrame.headerSize
      for right in rights {
        scratch.storeBytes(of: right, toByteOffset: size, as: UInt64.self)
        size += 8
      }
      if let from = text.baseAddress, text.count > 0 {
        (scratch.baseAddress.unsafelyUnwrapped + size).copyMemory(from: from, byteCount: text.count)
      }
      size += text.count
      do throws(PipeError) {
        return try offer(UnsafeRawBufferPointer(rebasing: scratch[..<size]), whole: true) > 0
      } catch { throw PortError(error) }
    }
  }
}
