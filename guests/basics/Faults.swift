import GuestRuntime
import LibOS

/// What the handler of the last exception saw.
nonisolated(unsafe) private var seen: (vector: UInt64, address: UInt64)?

/// Raises every exception that ring 3 can, handles it here, and goes on.
func faults() {
  var raised = 0
  var handled = 0
  for vector in ExceptionVector.allCases {
    do throws(ExocallError) {
      try Exceptions.bind(vector) { frame in
        seen = (frame.vector, frame.address)
        frame.rip = frame.r11
        // Trap and alignment-check flags, which some of the raisers set.
        frame.rflags &= ~0x40100
      }
    } catch {
      print("\(vector.mnemonic) cannot be bound: \(error)")
      raised += 1
      continue
    }
    guard canRaise(vector) else {
      print("\(vector.mnemonic) bound, cannot be raised at ring 3 in 64-bit mode")
      continue
    }
    if isEmulated, leftOutByEmulators(vector) {
      print("\(vector.mnemonic) bound, not raised by an emulated processor")
      continue
    }
    raised += 1
    seen = nil
    raise(vector)
    guard let seen, seen.vector == UInt64(vector.rawValue) else {
      print("\(vector.mnemonic) not handled")
      continue
    }
    if vector == .pageFault && seen.address != untouchable {
      print("\(vector.mnemonic) handled, at the wrong address")
      continue
    }
    print("\(vector.mnemonic) handled")
    handled += 1
  }
  let changed = exo_raise_and_compare()
  if changed > 0 { print("\(changed) registers changed by handling #BP") }
  let nested = raiseWithin()
  if !nested { print("an exception within a handler was not handled") }
  print("faults: \(handled) of \(raised) handled")
  exit(handled == raised && changed == 0 && nested ? 0 : 1)
}

/// A page fault in a handler of #BP, and a division error in the page fault's: each of another class, each gone on after.
private func raiseWithin() -> Bool {
  var seen: [UInt64] = []
  do throws(ExocallError) {
    try Exceptions.bind(.divideError) { frame in
      seen.append(frame.vector)
      frame.rip = frame.r11
    }
    try Exceptions.bind(.pageFault) { frame in
      exo_raise_divide_error()
      seen.append(frame.vector)
      frame.rip = frame.r11
    }
    try Exceptions.bind(.breakpoint) { frame in
      exo_raise_page_fault(untouchable)
      seen.append(frame.vector)
      frame.rip = frame.r11
    }
  } catch { return false }
  exo_raise_breakpoint()
  return seen == [0, 14, 3]
}

/// An address in the first page, which is never mapped.
private let untouchable: UInt64 = 0x128

/// Whether the self-test said that the processor is an emulator's.
private let isEmulated = Variables["EXO_PROCESSOR"] == "emulated"

private func leftOutByEmulators(_ vector: ExceptionVector) -> Bool {
  switch vector {
  case .stackFault, .alignment, .simdFloatingPoint: true
  default: false
  }
}

private func canRaise(_ vector: ExceptionVector) -> Bool {
  switch vector {
  case .overflow, .boundRange, .noFloatingPoint, .invalidTaskSegment: false
  default: true
  }
}

private func raise(_ vector: ExceptionVector) {
  switch vector {
  case .divideError: exo_raise_divide_error()
  case .debug: exo_raise_debug()
  case .breakpoint: exo_raise_breakpoint()
  case .invalidOpcode: exo_raise_invalid_opcode()
  case .segmentNotPresent: exo_raise_segment_not_present()
  case .stackFault: exo_raise_stack_fault()
  case .generalProtection: exo_raise_general_protection()
  case .pageFault: exo_raise_page_fault(untouchable)
  case .floatingPoint: exo_raise_floating_point()
  case .alignment: exo_raise_alignment()
  case .simdFloatingPoint: exo_raise_simd_floating_point()
  case .overflow, .boundRange, .noFloatingPoint, .invalidTaskSegment: break
  }
}
