import ArgumentParser
import Exo
import Glibc
import JSONText

/// `exorun top`: what the environments of one machine do, again and again.
struct Top: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top",
    abstract: "Show what the environments of a running machine do.",
    discussion: """
      On a terminal the table is drawn again at each interval; q ends it. Otherwise, or with --once, it is \
      printed once, for one interval. The environment with the largest share comes first.

      COLUMNS
        ENV NAME STATE   number, name and state, as `exorun ps` lists them
        CPU              share of its processor in the interval; 100% is all of one
                         processor
        SLICES           times it got the processor, since it was made
        SLOTS            slots of the processor's slice vector that are bound to it
        EXCESS           time it took beyond its slices, since it was made; paid back
                         from later slices
        FRAMES           frames of 4 KiB that it holds, page tables and kit counted
        FAULTS           exceptions that reached the exokernel; those that a direct
                         gate delivers do not
        EXOCALLS /S      exocalls since it was made, and how many a second in the
                         interval
        EVENTS           events posted to it since it was made
        REVOKED          requests to give something back, since it was made

      EXAMPLES
        exorun top                          the only machine that runs
        exorun top --once --json            one object for programs
        exorun top --json --interval 10s    one object a line, every ten seconds

      EXIT STATUS
        0, also when the machine ends; 125 if there is none, or several and --machine
        does not say which; 130 when interrupted.
      """)

  @OptionGroup var choice: MachineChoice

  @Option(
    help: ArgumentHelp("How often to look: 1s, 250ms.", valueName: "duration"), transform: parseDuration)
  var interval: Duration = .seconds(1)

  @Flag(help: "As JSON: one object, with --once, or one a line at each interval.")
  var json = false

  @Flag(help: "Look for one interval, print and end.")
  var once = false

  func validate() throws {
    if interval < .milliseconds(10) { throw ValidationError("an interval has at least 10ms") }
  }

  func run() throws {
    let connection = try choice.connect()
    if once || (!json && isatty(STDOUT_FILENO) != 1) {
      let before = try ObservedMachine(from: connection)
      usleep(useconds_t(min(interval.nanosecondCount / 1000, 1_000_000_000)))
      let sample = TopSample(before, try ObservedMachine(from: connection))
      let table = sample.table.map { $0 + "\n" }.joined()
      StandardStreams.write(json ? sample.json.text() + "\n" : table)
      return
    }
    Glibc.exit(json ? try follow(connection) : try show(connection))
  }

  private func follow(_ connection: ControlConnection) throws -> Int32 {
    let end = try WatchEnd()
    var before = try ObservedMachine(from: connection)
    while end.signal == nil {
      _ = ControlWait.until([end.descriptor], milliseconds: milliseconds)
      if end.signal != nil { break }
      guard let now = try look(connection) else { return 0 }
      StandardStreams.write(TopSample(before, now).json.line + "\n")
      before = now
    }
    return 128 + (end.signal ?? 0)
  }

  private func show(_ connection: ControlConnection) throws -> Int32 {
    var before = try ObservedMachine(from: connection)
    let screen = Screen()
    defer { screen.restore() }
    let end = try WatchEnd { screen.restore() }
    var sample = TopSample(before, before)
    var size = screen.size
    // The first figures soon: nobody likes to look at nothing.
    var next = ContinuousClock.now + min(interval, .milliseconds(250))
    var mustDraw = true
    var input = [STDIN_FILENO]
    while end.signal == nil {
      if mustDraw { screen.draw(sample.screen(size)) }
      let left = (next - ContinuousClock.now).nanosecondCount / 1_000_000 + 1
      let ready = ControlWait.until(
        input + [end.descriptor], milliseconds: Int32(clamping: min(max(left, 0), 100)))
      if ready.contains(STDIN_FILENO) {
        let keys = Screen.keys()
        if keys.contains(where: { [UInt8(ascii: "q"), UInt8(ascii: "Q")].contains($0) }) { return 0 }
        if keys.isEmpty { input = [] }
      }
      mustDraw = screen.size != size
      size = screen.size
      guard end.signal == nil, ContinuousClock.now >= next else { continue }
      next = ContinuousClock.now + interval
      guard let now = try look(connection) else {
        screen.restore()
        StandardStreams.complain("machine \(connection.machine) has ended")
        return 0
      }
      sample = TopSample(before, now)
      before = now
      mustDraw = true
    }
    return 128 + (end.signal ?? 0)
  }

  /// Nil once the machine has ended.
  private func look(_ connection: ControlConnection) throws(Failure) -> ObservedMachine? {
    do throws(Failure) { return try ObservedMachine(from: connection) } catch {
      if connection.hasEnded { return nil }
      // A send that finds nobody there.
      try connection.receive(waiting: 0)
      if connection.hasEnded { return nil }
      throw error
    }
  }

  private var milliseconds: Int32 { Int32(clamping: interval.nanosecondCount / 1_000_000) }
}
