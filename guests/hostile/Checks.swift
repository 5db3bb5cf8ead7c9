import ExoABI
import HostileSupport
import LibOS

/// Ends the attack: something happened that must not.
func succeeded(_ what: String) -> Never {
  print("SUCCEEDED: \(what)")
  exit(1)
}

/// Ends the attack: it needs something that it did not get.
func unable(_ what: String) -> Never {
  print("could not be mounted: \(what)")
  exit(3)
}

/// Whether the self-test said that the processor is an emulator's, which leaves out some checks of a real one.
var isEmulated: Bool { Variables["EXO_PROCESSOR"] == "emulated" }

func expect(_ condition: Bool, _ what: @autoclosure () -> String) {
  if !condition { succeeded(what()) }
}

/// What an exocall must be refused with.
func expectRefused(_ result: Int64, _ allowed: Int32..., for what: @autoclosure () -> String) {
  for number in allowed where result == -Int64(number) { return }
  succeeded("\(what()): \(result)")
}

/// One exocall, made as it is and waited for: the result is negative for a refusal.
@discardableResult
func exocall(
  _ call: exo_call, _ a: UInt64 = 0, _ b: UInt64 = 0, _ c: UInt64 = 0, _ d: UInt64 = 0, _ e: UInt64 = 0
) -> Int64 {
  exocall(RingRequest(call.rawValue, a, b, c, d, e)).result
}

func exocall(_ request: RingRequest) -> RingAnswer {
  guard let answer = machineRing.call(request) else { unable("the ring is full") }
  return answer
}

/// Kept, so that a program without a frame left can still make calls.
nonisolated(unsafe) private var tickets: [RingTicket] = []

/// Many exocalls with few waits; answers are handed over in order.
func exocalls(_ count: Int, _ request: (Int) -> RingRequest, answer: (Int, RingAnswer) -> Void) {
  var done = 0
  while done < count {
    tickets.removeAll(keepingCapacity: true)
    while done + tickets.count < count, tickets.count < 56 {
      guard let ticket = machineRing.submit(request(done + tickets.count)) else { break }
      tickets.append(ticket)
    }
    machineRing.notify()
    for (index, ticket) in tickets.enumerated() {
      guard let result = machineRing.wait(ticket) else { unable("an answer is lost") }
      answer(done + index, result)
    }
    done += tickets.count
  }
}

/// Like the addresses that attacks use: far from the image, the heap and the kit.
enum Place {
  static let scratch: UInt64 = 0x5000_0000_0000
  static let text: UInt64 = 0x5100_0000_0000
  static let mailbox: UInt64 = 0x5400_0000_0000
  static let childStack: UInt64 = 0x7000_0000_0000
}

/// Rights as the ABI has them.
enum Allow {
  static let read = UInt64(EXO_READ)
  static let write = UInt64(EXO_READ | EXO_WRITE)
  static let code = UInt64(EXO_READ | EXO_EXECUTE)
}

/// Frames of one's own.
struct Pages {
  let capability: UInt64
  let frame: UInt64
  let count: UInt64

  init(_ count: UInt64) {
    let answer = exocall(RingRequest(EXO_CALL_frame_allocate.rawValue, UInt64(EXO_FRAME_ANY), count))
    guard answer.result > 0, answer.values.1 == count else { unable("no \(count) frames: \(answer.result)") }
    capability = UInt64(answer.result)
    frame = answer.values.0
    self.count = count
  }

  @discardableResult
  func map(at address: UInt64, _ rights: UInt64 = Allow.write) -> Pages {
    let result = exocall(EXO_CALL_map, capability, 0, address, count, rights)
    if result != 0 { unable("mapping at \(address): \(result)") }
    return self
  }
}

func word(_ address: UInt64) -> UnsafeMutablePointer<UInt64> {
  guard let pointer = UnsafeMutablePointer<UInt64>(bitPattern: UInt(address)) else { unable("address 0") }
  return pointer
}

/// The exception that code raised, nil if it came back.
func attempt(_ code: @convention(c) (UInt64) -> Void, _ argument: UInt64 = 0) -> hostile_fault? {
  hostile_attempt(code, argument) == 0 ? nil : hostile_last_fault().pointee
}

/// Has every exception caught from here on.
func catchExceptions() {
  for vector in 0..<UInt32(EXO_VECTOR_COUNT) {
    let handler = hostile_catcher(vector)
    guard handler != 0 else { continue }
    let slot = vector == 14 ? EXO_IST_PAGE_FAULT : vector == 1 || vector == 3 ? EXO_IST_DEBUG : EXO_IST_FAULT
    let result = exocall(
      EXO_CALL_exception_bind, UInt64(vector), handler, hostile_stack_top(UInt32(slot)),
      vector == 14 ? UInt64(EXO_EXCEPTION_WITH_ADDRESS) : 0)
    if result != 0 { unable("binding vector \(vector): \(result)") }
  }
}

@c(hostile_unexpected) func unexpected() -> Never {
  let fault = hostile_last_fault().pointee
  print("an exception outside an attempt: vector \(fault.vector) at \(fault.rip), address \(fault.address)")
  exit(3)
}

/// An access that must raise a page fault, or, at an address that is none, a general protection or stack fault.
func expectFault(
  _ code: @convention(c) (UInt64) -> Void, at address: UInt64, _ what: @autoclosure () -> String
) {
  guard let fault = attempt(code, address) else { succeeded("\(what()) at \(address)") }
  switch fault.vector {
  case 14: expect(fault.address == address, "\(what()) faulted at \(fault.address), not \(address)")
  case 12, 13: expect(!isCanonical(address), "\(what()) at \(address) raised vector \(fault.vector)")
  default: succeeded("\(what()) at \(address) raised vector \(fault.vector)")
  }
}

func isCanonical(_ address: UInt64) -> Bool {
  let top = Int64(bitPattern: address) >> 47
  return top == 0 || top == -1
}

/// Numbers that look random and are the same in every run.
struct Numbers {
  var state: UInt64
  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }
}

func milliseconds() -> UInt64 { Clock.now / 1_000_000 }

/// How long to wait for what must come, in milliseconds: under emulation, beside others, a processor may stand still for seconds.
let patience: UInt64 = 10_000
