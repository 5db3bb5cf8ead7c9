import Synchronization

/// The records of one thread of the host: fixed in size, the oldest overwritten by the newest.
///
///     writer (one at a time)                    readers (any number, never in its way)
///     word 0 = 0                                word 0 == number wanted?  read words 1..5
///     words 1..5 = record                       word 0 still the same?    the record is whole
///     word 0 = its number, release              else it was overwritten: lost
///     written = its number, release
///
/// Invariants: only the writer stores; every word is an atomic of its own, so that a reader that comes at the wrong
/// moment reads a wrong record, and knows it, but nothing undefined.
@safe final class TraceLane: @unchecked Sendable {
  /// Records kept; a power of two.
  static let capacity: UInt64 = 16_384
  private static let recordSize = 64

  // Invariant: nil or `capacity` records of 64 bytes, set once, before any record is wanted; freed in deinit.
  private let storage = unsafe Atomic<UnsafeMutableRawPointer?>(nil)
  /// The number of the newest record, from 1.
  private let written = Atomic<UInt64>(0)

  deinit { unsafe storage.load(ordering: .acquiring)?.deallocate() }

  /// Makes room for records, once. Not to be called by two threads at a time.
  func prepare() {
    guard unsafe storage.load(ordering: .relaxed) == nil else { return }
    let size = Int(Self.capacity) * Self.recordSize
    let room = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: Self.recordSize)
    unsafe room.initializeMemory(as: UInt8.self, repeating: 0, count: size)
    unsafe storage.store(room, ordering: .releasing)
  }

  /// The number of the newest record.
  var newest: UInt64 { written.load(ordering: .acquiring) }

  private func word(_ room: UnsafeMutableRawPointer, _ number: UInt64, _ index: Int)
    -> UnsafeMutablePointer<Atomic<UInt64>>
  {
    // Within the room: the record's place is below the capacity, the index below 8.
    let place = Int((number &- 1) & (Self.capacity - 1)) * Self.recordSize + index * 8
    return unsafe (room + place).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Adds a record. One thread at a time.
  func write(_ words: TraceWords) {
    guard let room = unsafe storage.load(ordering: .acquiring) else { return }
    let number = written.load(ordering: .relaxed) &+ 1
    unsafe word(room, number, 0).pointee.store(0, ordering: .relaxed)
    atomicMemoryFence(ordering: .releasing)
    unsafe word(room, number, 1).pointee.store(words.time, ordering: .relaxed)
    unsafe word(room, number, 2).pointee.store(words.duration, ordering: .relaxed)
    unsafe word(room, number, 3).pointee.store(words.subject, ordering: .relaxed)
    unsafe word(room, number, 4).pointee.store(words.first, ordering: .relaxed)
    unsafe word(room, number, 5).pointee.store(words.second, ordering: .relaxed)
    unsafe word(room, number, 0).pointee.store(number, ordering: .releasing)
    written.store(number, ordering: .releasing)
  }

  /// Reads the record after `cursor` and moves it on. Nil if there is none, or if it was overwritten: then `lost` grows.
  func read(after cursor: inout UInt64, lost: inout UInt64) -> TraceWords? {
    let newest = self.newest
    guard cursor < newest, let room = unsafe storage.load(ordering: .acquiring) else { return nil }
    if newest - cursor > Self.capacity {
      lost += newest - Self.capacity - cursor
      cursor = newest - Self.capacity
    }
    let number = cursor + 1
    cursor = number
    let before = unsafe word(room, number, 0).pointee.load(ordering: .acquiring)
    let words = TraceWords(
      time: unsafe word(room, number, 1).pointee.load(ordering: .relaxed),
      duration: unsafe word(room, number, 2).pointee.load(ordering: .relaxed),
      subject: unsafe word(room, number, 3).pointee.load(ordering: .relaxed),
      first: unsafe word(room, number, 4).pointee.load(ordering: .relaxed),
      second: unsafe word(room, number, 5).pointee.load(ordering: .relaxed))
    atomicMemoryFence(ordering: .acquiring)
    let after = unsafe word(room, number, 0).pointee.load(ordering: .relaxed)
    guard before == number, after == number else {
      lost += 1
      return nil
    }
    return words
  }
}

/// A record as a lane keeps it.
struct TraceWords: Hashable, Sendable {
  /// Monotonic nanoseconds.
  var time: UInt64
  /// Nanoseconds; 0 for what has no length.
  var duration: UInt64
  /// Environment in bits 0-31, kind in 32-39, a small number of the kind's own in 40-63.
  var subject: UInt64
  var first: UInt64
  var second: UInt64
}
