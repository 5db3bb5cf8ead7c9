import ExoABI

/// Something that happened in a machine.
public struct TraceRecord: Hashable, Sendable {
  /// Monotonic nanoseconds of the host at which it happened, or began.
  public var time: UInt64
  /// Nanoseconds it took; 0 for what has no length.
  public var duration: UInt64
  /// The thread it happened on: a place in `Machine.traceLanes`.
  public var lane: Int
  /// Whom it happened to.
  public var environment: EnvironmentID
  public var event: TraceEvent
}

/// What happened.
public enum TraceEvent: Hashable, Sendable {
  /// Made; by the host's program if by nobody.
  case created(by: EnvironmentID?)
  case started
  /// The end, in the words of `Outcome`, and the status where there is one.
  case ended(Ending, status: UInt8)
  /// It got the processor, for so many nanoseconds if others wait.
  case sliceBegan(length: UInt64)
  /// It gave the processor up, so many nanoseconds after its slice's end.
  case sliceEnded(SliceEnd, excess: UInt64)
  /// A stay in guest mode, and what ended it.
  case guest(GuestExit)
  /// An exocall was served: its number, and its result, a negated errno if it was refused; nil if the answer comes later.
  case exocall(UInt32, result: Int64?)
  /// An event was posted: its kind's number in the ABI.
  case posted(kind: UInt32, data: UInt32, value: UInt64)
  /// An exception that nothing is bound to.
  case fault(ExceptionVector, address: UInt64)

  public enum Ending: UInt8, CaseIterable, Sendable {
    case exited, faulted, misused, timeLimit, killed, hostFailure
  }
  public enum SliceEnd: UInt8, CaseIterable, Sendable { case sleeps, ends, yields, over, stops }
  public enum GuestExit: UInt8, CaseIterable, Sendable {
    case interrupted, serve, wait, yield, doorbell, exception, other
  }

  /// What a trace may be restricted to.
  public enum Category: UInt8, CaseIterable, Sendable {
    case environment, slice, guest, exocall, event, fault
  }
  public var category: Category {
    switch self {
    case .created, .started, .ended: .environment
    case .sliceBegan, .sliceEnded: .slice
    case .guest: .guest
    case .exocall: .exocall
    case .posted: .event
    case .fault: .fault
    }
  }
}

// --- as words
extension TraceRecord {
  init?(_ words: TraceWords, lane: Int) {
    let code = words.subject >> 40
    let small = UInt8(truncatingIfNeeded: code)
    let event: TraceEvent
    switch UInt8(truncatingIfNeeded: words.subject >> 32) {
    case 0:
      let creator = UInt32(truncatingIfNeeded: words.first)
      event = .created(by: creator == 0 ? nil : EnvironmentID(creator))
    case 1: event = .started
    case 2:
      guard let ending = TraceEvent.Ending(rawValue: small) else { return nil }
      event = .ended(ending, status: UInt8(truncatingIfNeeded: words.first))
    case 3: event = .sliceBegan(length: words.first)
    case 4:
      guard let end = TraceEvent.SliceEnd(rawValue: small) else { return nil }
      event = .sliceEnded(end, excess: words.first)
    case 5:
      guard let exit = TraceEvent.GuestExit(rawValue: small) else { return nil }
      event = .guest(exit)
    case 6:
      event = .exocall(UInt32(code), result: words.second == 0 ? Int64(bitPattern: words.first) : nil)
    case 7:
      event = .posted(kind: UInt32(code), data: UInt32(truncatingIfNeeded: words.second), value: words.first)
    case 8: event = .fault(ExceptionVector(small), address: words.first)
    default: return nil
    }
    self.init(
      time: words.time, duration: words.duration, lane: lane,
      environment: EnvironmentID(UInt32(truncatingIfNeeded: words.subject)), event: event)
  }
}

extension TraceWords {
  init(_ event: TraceEvent, of environment: EnvironmentID, at time: UInt64, duration: UInt64) {
    var (kind, code, first, second) = (UInt64(0), UInt64(0), UInt64(0), UInt64(0))
    switch event {
    case .created(let creator): first = UInt64(creator?.number ?? 0)
    case .started: kind = 1
    case .ended(let ending, let status): (kind, code, first) = (2, UInt64(ending.rawValue), UInt64(status))
    case .sliceBegan(let length): (kind, first) = (3, length)
    case .sliceEnded(let end, let excess): (kind, code, first) = (4, UInt64(end.rawValue), excess)
    case .guest(let exit): (kind, code) = (5, UInt64(exit.rawValue))
    case .exocall(let number, let result):
      (kind, code) = (6, UInt64(number & 0xff_ffff))
      (first, second) = result.map { (UInt64(bitPattern: $0), 0) } ?? (0, 1)
    case .posted(let number, let data, let value):
      (kind, code, first, second) = (7, UInt64(number & 0xff_ffff), value, UInt64(data))
    case .fault(let vector, let address): (kind, code, first) = (8, UInt64(vector.number), address)
    }
    self.init(
      time: time, duration: duration, subject: UInt64(environment.number) | kind << 32 | code << 40,
      first: first, second: second)
  }
}

extension TraceEvent.Ending {
  init(_ outcome: Outcome) {
    self =
      switch outcome {
      case .exited: .exited
      case .faulted: .faulted
      case .misused: .misused
      case .timeLimit: .timeLimit
      case .killed: .killed
      case .hostFailure: .hostFailure
      }
  }
}
