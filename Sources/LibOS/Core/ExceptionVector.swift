/// The exceptions of the processor that an environment may handle, by vector.
public enum ExceptionVector: UInt8, CaseIterable, Sendable {
  case divideError = 0
  case debug = 1
  case breakpoint = 3
  case overflow = 4
  case boundRange = 5
  case invalidOpcode = 6
  case noFloatingPoint = 7
  case invalidTaskSegment = 10
  case segmentNotPresent = 11
  case stackFault = 12
  case generalProtection = 13
  case pageFault = 14
  case floatingPoint = 16
  case alignment = 17
  case simdFloatingPoint = 19

  /// `#PF` and the like.
  public var mnemonic: StaticString {
    switch self {
    case .divideError: "#DE"
    case .debug: "#DB"
    case .breakpoint: "#BP"
    case .overflow: "#OF"
    case .boundRange: "#BR"
    case .invalidOpcode: "#UD"
    case .noFloatingPoint: "#NM"
    case .invalidTaskSegment: "#TS"
    case .segmentNotPresent: "#NP"
    case .stackFault: "#SS"
    case .generalProtection: "#GP"
    case .pageFault: "#PF"
    case .floatingPoint: "#MF"
    case .alignment: "#AC"
    case .simdFloatingPoint: "#XM"
    }
  }

  /// Which exceptions share a stack. A second one of a class, raised by a handler of the first, destroys its frame.
  public enum Class: UInt32, Sendable {
    case pageFault, fault, debug
  }

  public var stackClass: Class {
    switch self {
    case .pageFault: .pageFault
    case .debug, .breakpoint: .debug
    default: .fault
    }
  }
}
