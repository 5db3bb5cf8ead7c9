import CKVM
import ExoABI
import JSONText

/// The server's lines: docs/control.md says what is in them.
enum ControlAnswers {
  static func refusal(_ refusal: ControlRefusal) -> [UInt8] {
    line([
      ("exo", number(ControlRequest.version)), ("error", .string(refusal.code)),
      ("message", .string(refusal.text)),
    ])
  }
  static func killed(_ environment: EnvironmentID) -> [UInt8] {
    line([("exo", number(ControlRequest.version)), ("ended", number(UInt64(environment.number)))])
  }

  static func snapshot(_ snapshot: MachineSnapshot) -> [UInt8] {
    line([
      ("exo", number(ControlRequest.version)), ("age", time(snapshot.age)),
      ("processors", .number(Double(snapshot.processors))),
      ("framesTotal", .number(Double(snapshot.framesTotal))),
      ("framesFree", .number(Double(snapshot.framesFree))), ("made", .number(Double(snapshot.made))),
      ("environments", .array(snapshot.environments.map(environment))),
    ])
  }

  private static func environment(_ e: EnvironmentSnapshot) -> JSON {
    object([
      ("environment", number(UInt64(e.id.number))), ("name", .string(e.name)),
      ("creator", e.creator.map { number(UInt64($0.number)) } ?? .null), ("state", .string(e.state.rawValue)),
      ("processor", .number(Double(e.processor))), ("processorTime", time(e.processorTime)),
      ("guestTime", time(e.timeInGuest)), ("exits", number(e.exits)), ("slices", number(e.slices)),
      ("slots", .number(Double(e.slots))), ("excess", time(e.excess)), ("debt", time(e.debt)),
      ("frames", .number(Double(e.frames))), ("framesPeak", .number(Double(e.framesPeak))),
      ("framesLimit", number(e.framesLimit)), ("faults", number(e.faults)), ("exocalls", number(e.exocalls)),
      ("refused", number(e.refused)), ("events", number(e.events)), ("eventsLost", number(e.eventsLost)),
      ("revocations", number(e.revocations)),
    ])
  }

  /// The first line of a capture: when the machine was made, in microseconds since 1970, and who is there.
  static func captureBegins(_ machine: Machine, _ snapshot: MachineSnapshot) -> [UInt8] {
    let age = snapshot.time &- machine.birth
    return line([
      ("exo", number(ControlRequest.version)), ("t", number(age)),
      ("born", number((ckvm_realtime() &- (ckvm_monotonic() &- machine.birth)) / 1000)),
      ("environments", names(snapshot)),
    ])
  }
  static func packet(_ packet: CapturedPacket, since birth: UInt64) -> [UInt8] {
    var text = "{\"t\":\(packet.time &- birth),\"fate\":\"\(packet.fate)\""
    if let from = packet.from { text += ",\"from\":\(from.number)" }
    if let to = packet.to { text += ",\"to\":\(to.number)" }
    text += ",\"length\":\(packet.length),\"bytes\":\""
    var line = Array(text.utf8)
    let digits = Array("0123456789abcdef".utf8)
    line.reserveCapacity(line.count + 2 * packet.bytes.count + 3)
    for byte in packet.bytes {
      line.append(digits[Int(byte >> 4)])
      line.append(digits[Int(byte & 15)])
    }
    line += "\"}\n".utf8
    return line
  }
  private static func names(_ snapshot: MachineSnapshot) -> JSON {
    .array(
      snapshot.environments.map {
        object([("environment", number(UInt64($0.id.number))), ("name", .string($0.name))])
      })
  }

  /// The first line of a trace: what its numbers mean, and who has which processor as it begins.
  static func traceBegins(_ machine: Machine, _ snapshot: MachineSnapshot) -> [UInt8] {
    let holders = snapshot.environments.filter { $0.state == .running }
    return line([
      ("exo", number(ControlRequest.version)), ("t", number(snapshot.time &- machine.birth)),
      ("lanes", .array(machine.traceLanes.map { .string($0) })),
      ("environments", names(snapshot)),
      (
        "running",
        .array(
          holders.map {
            object([
              ("environment", number(UInt64($0.id.number))),
              ("lane", .number(Double(Trace.lane(ofProcessor: $0.processor)))),
            ])
          })
      ),
    ])
  }
  static func traceLost(_ count: UInt64) -> [UInt8] { line([("lost", number(count))]) }
  static func traceEnds(at time: UInt64) -> [UInt8] { line([("t", number(time)), ("end", .bool(true))]) }

  /// One record. Written without JSON values in between: there may be very many.
  static func record(_ record: TraceRecord, since birth: UInt64, name: String?) -> [UInt8] {
    var line = TraceLine(record, since: birth)
    switch record.event {
    case .created(let creator):
      line.add("what", "created")
      if let name { line.addQuoted("name", name) }
      if let creator { line.add("creator", UInt64(creator.number)) }
    case .started: line.add("what", "started")
    case .ended(let ending, let status):
      line.add("what", "ended")
      line.add("how", "\(ending)")
      line.add("status", UInt64(status))
    case .sliceBegan(let length):
      line.add("what", "begin")
      line.add("length", length)
    case .sliceEnded(let end, let excess):
      line.add("what", "end")
      line.add("why", "\(end)")
      line.add("excess", excess)
    case .guest(let exit):
      line.add("duration", record.duration)
      line.add("exit", "\(exit)")
    case .exocall(let call, let result):
      line.add("duration", record.duration)
      line.addQuoted("call", Environment.callName(call))
      if let result { line.add("result", result) }
    case .posted(let kind, let data, let value):
      line.addQuoted("kind", Event.Kind(rawValue: kind).map { "\($0)" } ?? "\(kind)")
      line.add("data", UInt64(data))
      line.add("value", hexadecimal(value))
    case .fault(let vector, let address):
      line.addQuoted("vector", vector.mnemonic)
      line.add("address", hexadecimal(address))
    case .gateMade, .connected, .disconnected, .called, .answered, .callEnded: line.addGate(record.event)
    case .askedBack, .aborted, .repossessed, .gaveBack: line.addRevocation(record.event)
    }
    return line.ended
  }

  private static func number(_ value: UInt64) -> JSON { .number(Double(value)) }
  /// Nanoseconds.
  private static func time(_ duration: Duration) -> JSON { number(duration.nanoseconds) }
  private static func object(_ members: [(String, JSON)]) -> JSON {
    .object(members.map { JSON.Member($0.0, $0.1) })
  }
  private static func line(_ members: [(String, JSON)]) -> [UInt8] {
    Array(object(members).line.utf8) + [0x0a]
  }
}

/// A record's line in the making.
private struct TraceLine {
  private var text: String
  init(_ record: TraceRecord, since birth: UInt64) {
    text = "{\"t\":\(record.time &- birth),\"event\":\"\(record.event.category)\",\"environment\":"
    text += "\(record.environment.number),\"lane\":\(record.lane)"
  }
  mutating func add(_ name: StaticString, _ value: some BinaryInteger) { text += ",\"\(name)\":\(value)" }
  /// A word of ours, which needs no escapes.
  mutating func add(_ name: StaticString, _ value: String) { text += ",\"\(name)\":\"\(value)\"" }
  mutating func addQuoted(_ name: StaticString, _ value: String) {
    text += ",\"\(name)\":\(JSON.quoted(value))"
  }
  mutating func addGate(_ event: TraceEvent) {
    switch event {
    case .gateMade(let gate):
      add("what", "made")
      add("gate", gate)
    case .connected(let peer, let gate, let number):
      add("what", "connected")
      add("gate", gate)
      add("peer", peer.number)
      add("number", number)
    case .disconnected(let number):
      add("what", "closed")
      add("number", number)
    case .called(let host):
      add("what", "called")
      add("peer", host.number)
    case .answered(let host):
      add("what", "answered")
      add("peer", host.number)
    case .callEnded(let end):
      add("what", "given-up")
      add("why", "\(end)")
    default: break
    }
  }
  mutating func addRevocation(_ event: TraceEvent) {
    func name(_ kind: UInt32) -> String { Resource.Kind(rawValue: kind).map { "\($0)" } ?? "\(kind)" }
    switch event {
    case .askedBack(let kind, let owed, let asker):
      add("what", "asked")
      add("kind", name(kind))
      add("owed", owed)
      if let asker { add("by", asker.number) }
    case .aborted(let kind, let owed):
      add("what", "aborted")
      add("kind", name(kind))
      add("owed", owed)
    case .repossessed(let kind, let first, let count):
      add("what", "repossessed")
      add("kind", name(kind))
      add("first", first)
      add("count", count)
    case .gaveBack(let kind, let given, let taken):
      add("what", "answered")
      add("kind", name(kind))
      add("given", given)
      add("taken", taken)
    default: break
    }
  }
  var ended: [UInt8] { Array(text.utf8) + [UInt8(ascii: "}"), 0x0a] }
}
