import ExoABI
import Synchronization

/// How often each exocall was served, and how many were refused: words that whoever serves the ring changes, one at a time, without a
/// lock or a locked instruction, and anybody may read.
@safe final class ExocallCounters: @unchecked Sendable {
  private static let calls = Int(EXO_CALL_COUNT.rawValue)
  // Invariant: `calls` words and one more for refusals, set up at once, freed in deinit; Atomic<UInt64> has the layout of UInt64.
  private let words: UnsafeMutablePointer<Atomic<UInt64>>

  init() {
    let room = UnsafeMutableRawPointer.allocate(byteCount: (Self.calls + 1) * 8, alignment: 64)
    unsafe room.initializeMemory(as: UInt8.self, repeating: 0, count: (Self.calls + 1) * 8)
    unsafe words = room.assumingMemoryBound(to: Atomic<UInt64>.self)
  }
  deinit { unsafe UnsafeMutableRawPointer(words).deallocate() }

  /// Counts a call of that number. Under the ring's lock.
  @inline(__always)
  func count(_ call: UInt32) {
    precondition(call < Self.calls, "no such exocall")
    add(Int(call))
  }
  /// Counts a refusal. Under the ring's lock.
  func countRefusal() { add(Self.calls) }

  @inline(__always)
  private func add(_ index: Int) {
    // One writer at a time: a load and a store lose nothing.
    let word = unsafe words + index
    unsafe word.pointee.store(word.pointee.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
  }

  /// How often each call was served, by number.
  var served: [UInt64] { (0..<Self.calls).map { unsafe words[$0].load(ordering: .relaxed) } }
  var refused: UInt64 { unsafe words[Self.calls].load(ordering: .relaxed) }
}
