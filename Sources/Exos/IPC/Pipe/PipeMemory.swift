import Synchronization

/// Where a pipe lies in memory that its two ends share.
///
/// A stream of bytes, counted from 0. The ring holds the bytes from `read` to `stamp`, byte n at n % capacity. One writer
/// stores the first two lines and the ring, one reader the others; nobody else has a word there.
///
///     0    stamp    bytes written; `updating` while the rest of the line changes
///          window   the last bytes written, if they were few: who reads them here moves one line, and no other
///          count    how many those are
///     128  read     bytes read
///     256  state of the reader, see PipeSide
///     384  state of the writer
///     448  magic: that this is a pipe's memory still
///
/// Invariants that each end checks of the other: read <= stamp <= read + capacity, and neither goes back. An end keeps its own
/// count for itself and only ever stores it; each of the other's words is loaded once, and what is used is the copy.
public struct PipeMemory: Sendable {
  /// Address of the words, a multiple of 64. They take `controlSize` bytes.
  public let control: UInt
  /// Address of the ring.
  public let ring: UInt
  /// Bytes of the ring, a power of two.
  public let capacity: UInt64

  public static var controlSize: Int { 512 }
  static var updating: UInt64 { .max }
  static var windowSize: Int { 48 }
  static var magic: UInt64 { 0x4558_4f20_5049_5045 }

  static var stampOffset: UInt { 0 }
  static var windowOffset: UInt { 8 }
  static var countOffset: UInt { 56 }
  static var readOffset: UInt { 128 }
  static var readerOffset: UInt { 256 }
  static var writerOffset: UInt { 384 }
  static var magicOffset: UInt { 448 }

  /// - Parameters:
  ///   - control: address of the two ends' words.
  ///   - ring: address of the bytes.
  ///   - capacity: a power of two, from 64 on.
  @inline(__always)
  public init(control: UInt, ring: UInt, capacity: Int) {
    precondition(capacity >= 64 && capacity & (capacity - 1) == 0 && control & 63 == 0)
    self.control = control
    self.ring = ring
    self.capacity = UInt64(capacity)
  }

  /// Makes a pipe of zeroed memory. Whoever shares it first calls this, once.
  public func prepare() { word(Self.magicOffset).pointee.store(Self.magic, ordering: .releasing) }

  /// False once other memory was put in its place, or somebody wrote over it.
  var isIntact: Bool { word(Self.magicOffset).pointee.load(ordering: .acquiring) == Self.magic }

  @inline(__always)
  func word(_ offset: UInt) -> UnsafeMutablePointer<Atomic<UInt64>> {
    UnsafeMutablePointer(bitPattern: control + offset).unsafelyUnwrapped
  }
  @inline(__always)
  var window: UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(bitPattern: control + Self.windowOffset).unsafelyUnwrapped
  }
  /// Where in the ring a byte of the stream lies.
  @inline(__always)
  func place(_ position: UInt64) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(bitPattern: ring + UInt(position & (capacity &- 1))).unsafelyUnwrapped
  }

  /// Copies into the ring, around its end if need be.
  @inline(__always)
  func store(_ bytes: UnsafeRawPointer, count: Int, at position: UInt64) {
    let first = min(count, Int(capacity &- position & (capacity &- 1)))
    place(position).copyMemory(from: bytes, byteCount: first)
    if first < count { place(0).copyMemory(from: bytes + first, byteCount: count - first) }
  }
  @inline(__always)
  func load(_ bytes: UnsafeMutableRawPointer, count: Int, at position: UInt64) {
    let first = min(count, Int(capacity &- position & (capacity &- 1)))
    bytes.copyMemory(from: place(position), byteCount: first)
    if first < count { (bytes + first).copyMemory(from: place(0), byteCount: count - first) }
  }
}
