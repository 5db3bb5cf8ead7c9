import ExoABI
import Synchronization

@testable import LibOSHost

/// The exokernel's end of a ring in host memory, as the protocol describes it: reads submissions in order,
/// answers what it read in whatever order `choose` says.
final class RingServer: @unchecked Sendable {
  let memory = UnsafeMutableRawPointer.allocate(byteCount: 3 * 4096, alignment: 4096)
  var read: UInt32
  var posted: UInt32
  var pending: [(tag: UInt64, call: UInt32, arguments: [UInt64])] = []
  /// What broke the protocol, if anything did.
  var complaints: [String] = []

  /// - Parameter from: the number of submissions and completions that have already been.
  init(from: UInt32 = 0) {
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: 3 * 4096)
    (read, posted) = (from, from)
  }

  deinit { memory.deallocate() }

  var submissions: UInt { UInt(bitPattern: memory) }
  var completions: UInt { submissions + 4096 }
  var status: UInt { submissions + 8192 }

  func word(_ address: UInt) -> UnsafeMutablePointer<Atomic<UInt32>> {
    UnsafeMutableRawPointer(bitPattern: address)!.assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  var service: Int32 {
    get { Int32(word(status).pointee.load(ordering: .relaxed)) }
    set { word(status).pointee.store(UInt32(newValue), ordering: .sequentiallyConsistent) }
  }

  /// Reads the next submission, if there is one.
  func readOne() -> Bool {
    let number = read &+ 1
    let slot = submissions + UInt((number &- 1) % 64) * 64
    guard word(slot + 60).pointee.load(ordering: .acquiring) == number else { return false }
    let entry = UnsafePointer<exo_submission>(bitPattern: slot)!.pointee
    read = number
    if number &- entry.consumed > 64 {
      complaints.append("\(number) is more than a ring past \(entry.consumed)")
    }
    let arguments = entry.arguments
    pending.append(
      (entry.tag, entry.call, [arguments.0, arguments.1, arguments.2, arguments.3, arguments.4]))
    return true
  }

  /// Answers one of the submissions that were read: the result is the call's number, negated if odd, and each
  /// value is the argument plus one.
  func postOne(_ index: Int) {
    let request = pending.remove(at: index)
    posted &+= 1
    let slot = completions + UInt((posted &- 1) % 64) * 64
    let entry = UnsafeMutablePointer<exo_completion>(bitPattern: slot)!
    let a = request.arguments
    entry.pointee.tag = request.tag
    entry.pointee.result = Self.result(request.call)
    entry.pointee.values = (a[0] &+ 1, a[1] &+ 1, a[2] &+ 1, a[3] &+ 1, a[4] &+ 1)
    word(slot + 60).pointee.store(posted, ordering: .releasing)
  }

  static func result(_ call: UInt32) -> Int64 { call & 1 == 0 ? Int64(call) : -Int64(call) }
}

extension RingRequest {
  /// Whether an answer is this request's from `RingServer`.
  func fits(_ answer: RingAnswer?) -> Bool {
    guard let answer else { return false }
    let (a, v) = (arguments, answer.values)
    return answer.result == RingServer.result(call) && v.0 == a.0 &+ 1 && v.1 == a.1 &+ 1 && v.2 == a.2 &+ 1
      && v.3 == a.3 &+ 1 && v.4 == a.4 &+ 1
  }

  init(random: inout Randomness) {
    self.init(
      UInt32.random(in: 0..<1000, using: &random), random.next(), random.next(), random.next(), random.next(),
      random.next())
  }
}
