import ExoABI
import ExosFork
import ExosProcess
import GuestRuntime
import LibOS

/// Processes that are run on their maker's time, one after the other in the same environment where nothing is left of the one before.
func runs(_ library: Library) throws(ExocallError) {
  guard let image = library.images.image(named: "part") else {
    return Promises.check(false, "there is an image to run")
  }
  func run(_ words: String..., options: Process.Options = Process.Options()) -> EnvironmentEnd? {
    var record = ProcessRecord(arguments: ["part"] + words)
    record.variables = ["COLOUR=green"]
    return try? Process.run(image, from: library, record, options)
  }
  /// Which environment a process is in.
  func number() -> UInt8? {
    guard case .exited(let status)? = run("number") else { return nil }
    return status
  }
  for _ in 0..<2 {
    Promises.check(
      run("arguments", "two words", "", "ä") == .exited(status: 7),
      "what is run gets its arguments, and gives its status")
  }
  // Unless the host took its time with one, and it went on by itself.
  Promises.check(
    (0..<100).contains { _ in number().map { $0 == number() } ?? false },
    "one after the other is run in the same environment")
  for round in 0..<3 {
    Promises.check(
      run("stain", "\(round)") == .exited(status: 0),
      "nothing that one left is found by the next, in memory or in the kit")
    Promises.check(
      run("asks") == .exited(status: 0), "nor carried out for it: a hundred exocalls of its own")
  }
  let used = number()
  Promises.check(run("exceptions") == .exited(status: 0), "one binds an exception")
  let next = number()
  Promises.check(next != nil && next != used, "what lasts does so in an environment that is not used again")
  if case .faulted(let vector, _)? = run("crash") {
    Promises.check(vector == 6, "a crash comes back as the exception that it was")
  } else {
    Promises.check(false, "a crash comes back as the exception that it was")
  }
  Promises.check(run("exits") == .exited(status: 41), "one that exits by the exocall has ended")
  Promises.check(run("sleeps") == .exited(status: 9), "one that sleeps goes on by itself and is waited for")
  Promises.check(run("spins") == .exited(status: 4), "and so does one that takes longer than a slice")
  var forking = Process.Options()
  forking.quota = EnvironmentQuota(frames: 2048, capabilities: 1024, bindings: 32, environments: 1)
  let forked = run("forks", options: forking)
  Promises.check(
    forked == .exited(status: 6),
    "and one that forks, whose child ends in a way of its own: it \(told(forked))")
  let declined = run("declines")
  Promises.check(
    declined == .killed(status: 255),
    "one that sends its processor back without a status is ended: it \(told(declined))")
  Promises.check(
    run("returns") == .exited(status: 3), "one that is entered again by nobody has returned for good")
  Promises.check(number() != nil, "after all of them the next is run")
  var options = Process.Options()
  options.quota = EnvironmentQuota(frames: 1024, capabilities: 64)
  Promises.check(
    run("arguments", "two words", "", "ä", options: options) == .exited(status: 7),
    "one without a binding to its name is started")
  Process.trim()
  let before = Frames.held
  for _ in 0..<20 { _ = number() }
  Process.trim()
  Promises.check(Frames.held <= before, "all is given back")
}

private func told(_ end: EnvironmentEnd?) -> String { end.map { $0.description } ?? "could not be run" }

// In .data, and in .bss.
nonisolated(unsafe) private var initialised: UInt64 = 7
nonisolated(unsafe) private var zeroed: UInt64 = 0

/// What a process that is run by this guest does.
func runPart(_ words: [String]) {
  let start = Startup.page
  switch words.count > 1 ? words[1] : "" {
  case "number": exit(Int32(start.pointee.environment & 0x7f))
  case "stain": exit(stain())
  case "asks":
    for _ in 0..<100 where (try? Exocall.make(RingRequest(EXO_CALL_capability_next.rawValue))) == nil {
      exit(1)
    }
    exit(0)
  case "exits": Exocall.exit(41)
  case "sleeps":
    Events.setTimer(at: Clock.now + 3_000_000)
    while !Events.hasPending { Wakeup.sleep() }
    exit(9)
  case "spins":
    let end = Clock.now + 30_000_000
    while Clock.now < end { exo_pause() }
    exit(4)
  case "forks":
    do throws(ProcessError) {
      var options = Process.ForkOptions()
      options.quota = EnvironmentQuota(frames: 400, capabilities: 400, bindings: 16)
      guard var child = try Process.fork(options) else { exit(5) }
      exit((try? child.wait()) == .exited(status: 5) ? 6 : 1)
    } catch {
      print("a fork was refused: \(error.text)")
      exit(2)
    }
  case "declines":
    exo_ring_doorbell(start.pointee.doorbell, UInt32(EXO_DOORBELL_DECLINE), 1)
    exit(1)
  case "returns":
    exo_return_to_maker(3)
    exit(3)
  default: exit(3)
  }
}

/// Looks whether everything is as at a beginning, and leaves it as bad as can be. 0, or which of it was not.
private func stain() -> Int32 {
  let start = Startup.page.pointee
  guard initialised == 7, zeroed == 0 else { return 1 }
  (initialised, zeroed) = (8, 9)
  // As deep in the stack as nobody has been.
  let deep = start.stack_top - 20 << 12
  guard exo_load64(deep) == 0 else { return 2 }
  exo_store64(deep, 1)
  // The trap page: what this environment says of itself, and where the nucleus's own gates push.
  let trap = start.control & ~0xfff
  for offset: UInt64 in [0x100, 0x7f8, 0xff0] {
    guard exo_load64(trap + offset) == 0 else { return 3 }
    exo_store64(trap + offset, .max)
  }
  let control = UnsafeMutablePointer<exo_control>(bitPattern: UInt(start.control)).unsafelyUnwrapped
  guard control.pointee.hands_over == 0, control.pointee.events_consumed == 0 else { return 4 }
  (control.pointee.hands_over, control.pointee.events_consumed, control.pointee.mask) = (1, 77, 1)
  // Exits in the name of whoever comes next, behind the submission that is expected of him.
  let expected = start.ring_served + 1
  for ahead in 1..<64 as Range<UInt64> {
    let number = expected + ahead
    let slot = start.submission_ring + (number - 1) % 64 * 64
    exo_store64(slot + 8, 99)
    exo_store64(slot + 48, UInt64(EXO_CALL_exit.rawValue))
    exo_store64(slot + 56, number << 32)
  }
  return 0
}
