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
  /// It made a gate.
  case gateMade(UInt32)
  /// It connected to a gate, of another; the connection's number here.
  case connected(to: EnvironmentID, gate: UInt32, number: UInt32)
  /// A connection was closed; its number here.
  case disconnected(number: UInt32)
  /// Its virtual processor was found in another environment, by a call that has not returned. What comes and goes between two
  /// exits is not seen.
  case called(EnvironmentID)
  /// It was found at home again, from a call to the environment that it was last found in.
  case answered(by: EnvironmentID)
  /// A call of its own came to nothing.
  case callEnded(CallEnd)
  /// Something was asked back of it: the resource's kind as the ABI numbers it, how much is still owed, and by whom if not by the
  /// host's program.
  case askedBack(kind: UInt32, owed: UInt64, by: EnvironmentID?)
  /// The deadline passed, and so much was still owed.
  case aborted(kind: UInt32, owed: UInt64)
  /// Something was taken from it, as its repossession vector says.
  case repossessed(kind: UInt32, first: UInt32, count: UInt32)
  /// A request was met: how much it gave, how much was taken.
  case gaveBack(kind: UInt32, given: UInt64, taken: UInt64)

  /// Why a call came to nothing: the callee ended, would not be called, did not return in time, or was stopped.
  public enum CallEnd: UInt8, CaseIterable, Sendable { case ended, declined, timedOut, stopped }
  public enum Ending: UInt8, CaseIterable, Sendable {
    case exited, faulted, misused, timeLimit, killed, hostFailure
  }
  public enum SliceEnd: UInt8, CaseIterable, Sendable { case sleeps, ends, yields, over, stops }
  public enum GuestExit: UInt8, CaseIterable, Sendable {
    case interrupted, serve, wait, yield, exit, doorbell, exception, other
  }

  /// What a trace may be restricted to.
  public enum Category: UInt8, CaseIterable, Sendable {
    case environment, slice, guest, exocall, event, fault, gate, revocation
  }
  public var category: Category {
    switch self {
    case .created, .started, .ended: .environment
    case .sliceBegan, .sliceEnded: .slice
    case .guest: .guest
    case .exocall: .exocall
    case .posted: .event
    case .fault: .fault
    case .gateMade, .connected, .disconnected, .called, .answered, .callEnded: .gate
    case .askedBack, .aborted, .repossessed, .gaveBack: .revocation
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
    case 9: event = .gateMade(UInt32(code))
    case 10:
      event = .connected(
        to: EnvironmentID(UInt32(truncatingIfNeeded: words.second)),
        gate: UInt32(truncatingIfNeeded: words.first), number: UInt32(code))
    case 11: event = .disconnected(number: UInt32(code))
    case 12: event = .called(EnvironmentID(UInt32(truncatingIfNeeded: words.first)))
    case 13: event = .answered(by: EnvironmentID(UInt32(truncatingIfNeeded: words.first)))
    case 14:
      guard let end = TraceEvent.CallEnd(rawValue: small) else { return nil }
      event = .callEnded(end)
    case 15:
      let asker = UInt32(truncatingIfNeeded: words.second)
      event = .askedBack(
        kind: UInt32(code), owed: words.first, by: asker == 0 ? nil : EnvironmentID(asker))
    case 16: event = .aborted(kind: UInt32(code), owed: words.first)
    case 17:
      event = .repossessed(
        kind: UInt32(code), first: UInt32(truncatingIfNeeded: words.first),
        count: UInt32(truncatingIfNeeded: words.second))
    case 18: event = .gaveBack(kind: UInt32(code), given: words.first, taken: words.second)
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
    case .gateMade(let gate): (kind, code) = (9, UInt64(gate & 0xff_ffff))
    case .connected(let peer, let gate, let number):
      (kind, code, first, second) = (10, UInt64(number & 0xff_ffff), UInt64(gate), UInt64(peer.number))
    case .disconnected(let number): (kind, code) = (11, UInt64(number & 0xff_ffff))
    case .called(let host): (kind, first) = (12, UInt64(host.number))
    case .answered(let host): (kind, first) = (13, UInt64(host.number))
    case .callEnded(let end): (kind, code) = (14, UInt64(end.rawValue))
    case .askedBack(let resource, let owed, let asker):
      (kind, code, first, second) = (15, UInt64(resource & 0xff_ffff), owed, UInt64(asker?.number ?? 0))
    case .aborted(let resource, let owed): (kind, code, first) = (16, UInt64(resource & 0xff_ffff), owed)
    case .repossessed(let resource, let from, let count):
      (kind, code, first, second) = (17, UInt64(resource & 0xff_ffff), UInt64(from), UInt64(count))
    case .gaveBack(let resource, let given, let taken):
      (kind, code, first, second) = (18, UInt64(resource & 0xff_ffff), given, taken)
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
