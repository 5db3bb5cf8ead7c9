import CKVM
import Glibc

/// One connection to a machine's control socket, as its server sees it. Nothing here waits: what cannot be sent now is kept,
/// within bounds, and while much is kept nothing more is done for this client.
final class ControlClient {
  /// While more bytes than this are kept no request is read, and trace records are left where they are.
  private static let backlogLimit = 1 << 20
  /// Nanoseconds between two requests of one client.
  private static let pause: UInt64 = 2_000_000

  let socket: Int32
  private let machine: Machine
  private var input: [UInt8] = []
  private var output: [UInt8] = []
  private var sent = 0
  private var quietUntil: UInt64 = 0
  private var hasMore = true
  /// To be closed once all is sent.
  private var isLeaving = false
  private(set) var isGone = false
  /// Those whose end it waits to be told of.
  private var dying: [Environment] = []
  private var tracing: Tracing?
  private var capturing: Capturing?
  /// Makes the server look again.
  private let notify: @Sendable () -> Void

  private struct Tracing {
    let reader: TraceReader
    let environments: Set<EnvironmentID>?
    var lostTold: UInt64 = 0
  }
  private struct Capturing {
    let reader: PacketReader
    let environments: Set<EnvironmentID>?
    var lostTold: UInt64 = 0
  }

  init(_ socket: Int32, of machine: Machine, notify: @escaping @Sendable () -> Void) {
    self.socket = socket
    self.machine = machine
    self.notify = notify
  }
  deinit { close(socket) }

  private var backlog: Int { output.count - sent }
  private var isBusy: Bool { backlog > Self.backlogLimit }

  /// What to wait for with poll.
  func interest(at now: UInt64) -> pollfd {
    var events: Int16 = 0
    if backlog > 0 { events |= Int16(POLLOUT) }
    if hasMore, !isBusy, !isLeaving, now >= quietUntil, nextLine == nil { events |= Int16(POLLIN) }
    return pollfd(fd: socket, events: events, revents: 0)
  }
  /// When to look again at the latest, in monotonic nanoseconds.
  var wakeTime: UInt64 {
    if isTracing { return 0 }
    return quietUntil > 0 && (nextLine != nil || hasMore) ? quietUntil : .max
  }
  var isTracing: Bool { tracing != nil || capturing != nil }

  /// Says why it is not served, and leaves.
  func turnAway(_ refusal: ControlRefusal) {
    output += ControlAnswers.refusal(refusal)
    isLeaving = true
    send()
  }

  /// Does what can be done now.
  func advance(_ ready: Int16, at now: UInt64) {
    if ready & Int16(POLLIN | POLLHUP | POLLERR) != 0 { receive() }
    if now >= quietUntil {
      quietUntil = 0
      serveNext(at: now)
    }
    tellOfEnds()
    pump()
    send()
    // Gone altogether, and not only done with asking.
    if ready & Int16(POLLHUP | POLLERR) != 0, !hasMore, nextLine == nil { isGone = true }
    // Whoever has closed its side and has nothing to come is done.
    if !hasMore, nextLine == nil, dying.isEmpty, !isTracing { isLeaving = true }
    if isLeaving, backlog == 0 { isGone = true }
  }

  /// The machine has ended: what is left is said. True when it has been sent.
  func end(at time: UInt64) {
    tellOfEnds()
    if isTracing {
      pump()
      (tracing, capturing) = (nil, nil)
      output += ControlAnswers.traceEnds(at: time)
    }
    isLeaving = true
    send()
    if backlog == 0 { isGone = true }
  }
  func sendRest() {
    send()
    if backlog == 0 { isGone = true }
  }

  // --- input

  private var nextLine: Int? { input.firstIndex(of: 0x0a) }

  private func receive() {
    guard hasMore, !isGone else { return }
    // One more than a request may have, so that one that is too long is seen to be.
    let room = ControlRequest.limit + 1 - input.count
    guard room > 0 else { return }
    switch ControlSocket.receive(socket, limit: room) {
    case .bytes(let bytes): input += bytes
    case .later: break
    case .end: hasMore = false
    }
  }

  private func serveNext(at now: UInt64) {
    guard !isLeaving, !isBusy else { return }
    guard let end = nextLine else {
      if input.count > ControlRequest.limit { turnAway(.tooLong) }
      return
    }
    let line = input[..<end]
    input.removeFirst(end + 1)
    quietUntil = now &+ Self.pause
    do throws(ControlRefusal) {
      try carryOut(try ControlRequest(line))
    } catch {
      guard error.isMild else { return turnAway(error) }
      output += ControlAnswers.refusal(error)
    }
  }

  private func carryOut(_ request: ControlRequest) throws(ControlRefusal) {
    switch request {
    case .snapshot: output += ControlAnswers.snapshot(machine.snapshot())
    case .kill(let id):
      guard let environment = machine.environment(id), !environment.hasEnded else {
        throw .noSuchEnvironment(id.number)
      }
      dying.append(environment)
      let notify = notify
      environment.onEnd { _ in notify() }
      environment.kill()
    case .trace(let categories, let environments):
      // First the records, then the state: what happens between is told twice rather than not at all.
      tracing = Tracing(reader: machine.trace(categories), environments: environments)
      output += ControlAnswers.traceBegins(machine, machine.snapshot())
    case .capture(let bytes, let environments):
      capturing = Capturing(reader: machine.capturePackets(bytes: bytes), environments: environments)
      output += ControlAnswers.captureBegins(machine, machine.snapshot())
    }
  }

  // --- output

  private func tellOfEnds() {
    dying.removeAll { environment in
      guard environment.hasEnded else { return false }
      output += ControlAnswers.killed(environment.id)
      return true
    }
  }

  /// Moves trace records and packets to the output, as long as there is room.
  private func pump() {
    pumpRecords()
    pumpPackets()
  }

  private func pumpPackets() {
    guard var capturing, !isBusy else { return }
    for packet in capturing.reader.read() {
      if let wanted = capturing.environments, !packet.concerns(wanted) { continue }
      output += ControlAnswers.packet(packet, since: machine.birth)
    }
    tellLost(capturing.reader.lost, &capturing.lostTold)
    self.capturing = capturing
  }

  private func pumpRecords() {
    guard var tracing, !isBusy else { return }
    for record in tracing.reader.read().sorted(by: { $0.time < $1.time }) {
      if let wanted = tracing.environments, !wanted.contains(record.environment) { continue }
      var name: String?
      if case .created = record.event { name = machine.environment(record.environment)?.name }
      output += ControlAnswers.record(record, since: machine.birth, name: name)
    }
    tellLost(tracing.reader.lost, &tracing.lostTold)
    self.tracing = tracing
  }

  private func tellLost(_ lost: UInt64, _ told: inout UInt64) {
    guard lost > told else { return }
    output += ControlAnswers.traceLost(lost - told)
    told = lost
  }

  private func send() {
    while backlog > 0 {
      guard let count = ControlSocket.send(socket, output[sent...]) else {
        // Nobody is there to read it.
        isGone = true
        return
      }
      if count == 0 { break }
      sent += count
    }
    if sent == output.count {
      output.removeAll(keepingCapacity: output.capacity <= 65_536)
      sent = 0
    } else if sent > 65_536 {
      output.removeFirst(sent)
      sent = 0
    }
  }
}
