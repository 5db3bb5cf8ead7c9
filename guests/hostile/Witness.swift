import ExoABI
import LibOS

/// What a well-behaved neighbour does while others attack: keeps a table in its own memory and numbers in its vector
/// registers, makes exocalls, and finds all of it as it left it, until its input ends. Exits with 0 only then.
func witness() {
  let count = 32_768
  let table = UnsafeMutablePointer<UInt64>.allocate(capacity: count)
  var numbers = Numbers(state: 0x9e37_79b9_7f4a_7c15)
  var sum: UInt64 = 0
  for index in 0..<count {
    table[index] = numbers.next()
    sum &+= table[index] &* UInt64(index | 1)
  }
  var lanes = SIMD8<Double>(1, 2, 3, 4, 5, 6, 7, 8)
  let step = SIMD8<Double>(repeating: 1)
  var rounds = 0.0
  var clock: Int64 = 0
  let buffer = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
  let input = RingRequest(EXO_CALL_console_read.rawValue, UInt64(UInt(bitPattern: buffer)), 64)
  guard let ended = machineRing.submit(input) else { mistaken("the ring is full") }
  machineRing.notify()
  var isOver = false
  while !isOver || rounds < 8 {
    if !isOver, machineRing.poll(ended) != nil { isOver = true }
    var again: UInt64 = 0
    for index in 0..<count { again &+= table[index] &* UInt64(index | 1) }
    guard again == sum else { mistaken("memory") }
    lanes += step
    rounds += 1
    guard lanes == SIMD8<Double>(1, 2, 3, 4, 5, 6, 7, 8) + SIMD8<Double>(repeating: rounds) else {
      mistaken("vector registers")
    }
    let now = exocall(EXO_CALL_clock)
    guard now > clock else { mistaken("the clock") }
    clock = now
  }
  guard exocall(EXO_CALL_null) == 0 else { mistaken("the ring") }
  // It has no children, no timer and no friends.
  guard UnsafePointer<exo_events>(bitPattern: UInt(exo_kit_events))?.pointee.posted == 0 else {
    mistaken("the event ring")
  }
  exit(0)
}

private func mistaken(_ what: String) -> Never {
  print("witness: \(what) not as it was left")
  exit(1)
}
