import ExoABI
import ExosFork
import ExosProcess
import GuestRuntime
import LibOS

/// Processes as a library: what one is told, how it ends, signals, groups, files.
func processes() {
  guard let library = Library.own() else {
    print("processes: there are no images here to make processes of (EXO_IMAGES)")
    exit(2)
  }
  Promises.part("spawn") { () throws(ExocallError) in try spawn(library) }
  Promises.part("endings") { () throws(ExocallError) in try endings(library) }
  Promises.part("signals") { () throws(ExocallError) in try signals(library) }
  Promises.part("inherits") { () throws(ExocallError) in try inherits(library) }
  Promises.part("many") { () throws(ExocallError) in try many(library) }
  Promises.part("runs") { () throws(ExocallError) in try runs(library) }
  Promises.part("fork", forks)
  Promises.finish()
}

/// What a process made by this guest does.
func processPart() {
  let words = Arguments.all
  switch words.count > 1 ? words[1] : "" {
  case "arguments":
    let isRight =
      words == ["part", "arguments", "two words", "", "ä"] && Variables["COLOUR"] == "green"
      && Variables["EXO_IMAGES"] == nil
    exit(isRight ? 7 : 1)
  case "crash": exo_trap()
  case "loop":
    sayReady()
    while true { exo_pause() }
  case "handle":
    Signals.handle(.user1) { Exocall.exit(55) }
    sayReady()
    while true { Wakeup.sleep() }
  case "inherits":
    guard let frame = ProcessSelf.capability(named: "page"), ProcessSelf.capability(named: "other") == nil,
      takePage(frame)
    else { exit(1) }
    exo_store64(sharedPage + 8, exo_load64(sharedPage) + 1)
    exit(0)
  case "exceptions":
    // A stack of its own to take them on, for its memory is its maker's.
    var seen = false
    guard (try? Exceptions.bind(.breakpoint, { _ in seen = true })) != nil else { exit(1) }
    exo_raise_breakpoint()
    exit(seen ? 0 : 2)
  default: runPart(words)
  }
}

/// Where the page lies that is shared with a process, in both.
private let sharedPage: UInt64 = 0x6800_0000_0000
private func takePage(_ frame: Capability) -> Bool {
  (try? frame.map(at: sharedPage, pages: 1, [.read, .write])) != nil
}
/// Tells whoever made this process, if it shares the page, that signals find it at work.
private func sayReady() {
  if let frame = ProcessSelf.capability(named: "page"), takePage(frame) { exo_store64(sharedPage, 1) }
}
private func makePage() throws(ExocallError) -> Capability {
  let page = try Exocall.frameAllocate(count: 1).owner
  try page.map(at: sharedPage, pages: 1, [.read, .write])
  return page
}

private func make(
  _ library: Library, _ words: [String],
  _ change: (inout ProcessRecord, Environment) throws(ExocallError) -> Void = { _, _ in }
)
  -> Process?
{
  guard let image = library.images.image(named: "part") else { return nil }
  var record = ProcessRecord(arguments: ["part"] + words)
  do throws(ProcessError) {
    var process = try Process.prepare(image, from: library)
    do throws(ExocallError) { try change(&record, process.environment) } catch {
      process.release()
      return nil
    }
    try process.start(image, record)
    return process
  } catch {
    print("a process could not be made: \(error.text)")
    return nil
  }
}
private func end(_ process: consuming Process?) -> EnvironmentEnd? {
  guard var process else { return nil }
  return try? process.wait()
}

private func spawn(_ library: Library) throws(ExocallError) {
  let arguments = end(
    make(library, ["arguments", "two words", "", "ä"]) { (record, _) throws(ExocallError) in
      record.variables = ["COLOUR=green"]
    })
  Promises.check(
    arguments == .exited(status: 7), "a process gets its arguments and variables and its status comes back")
  Promises.check(
    end(make(library, ["exceptions"])) == .exited(status: 0), "it takes exceptions on stacks of its own")
  Promises.check(library.images.image(named: "no-such-guest") == nil, "there is no image of any name")
  let before = Frames.held
  for _ in 0..<10 { _ = end(make(library, ["arguments"])) }
  Promises.check(Frames.held <= before + 2, "ten processes later this one holds what it held before")
}

private func endings(_ library: Library) throws(ExocallError) {
  if case .faulted(let vector, _)? = end(make(library, ["crash"])) {
    Promises.check(vector == 6, "a crash comes back as the exception that it was")
  } else {
    Promises.check(false, "a crash comes back as the exception that it was")
  }
  guard var process = make(library, ["loop"]) else { return Promises.check(false, "a process was made") }
  Promises.check(process.poll() == nil, "one that runs has not ended")
  try Signal.stop.send(to: process.environment)
  Promises.check((try process.environment.inspect()).state == .stopped, "it is stopped")
  try Signal.proceed.send(to: process.environment)
  try Signal.kill.send(to: process.environment)
  Promises.check(try process.wait() == .killed(status: 137), "and killed")
}

private func signals(_ library: Library) throws(ExocallError) {
  let page = try makePage()
  for (words, signal, status) in [
    (["loop"], Signal.terminate, 143), (["handle"], .user1, 55), (["loop"], .interrupt, 130),
  ] {
    exo_store64(sharedPage, 0)
    let process = make(library, words) { (record, environment) throws(ExocallError) in
      record.takesSignals = true
      record.capabilities = [
        ("page", try page.grant(to: environment, CapabilityRights([.read, .write])).handle)
      ]
    }
    guard var process else { return Promises.check(false, "a process was made") }
    // One signal comes before the process has begun and waits for it, the others once it says that it has.
    let limit = Clock.now + 10_000_000_000
    while status != 143, exo_load64(sharedPage) == 0, Clock.now < limit { Slices.yield() }
    try signal.send(to: process.environment)
    let end = try process.wait()
    Promises.check(end == .exited(status: UInt8(status)), "signal \(signal.rawValue) to a process: it \(end)")
  }
  try Exocall.unmap(sharedPage, pages: 1)
  try page.drop()
}

private func inherits(_ library: Library) throws(ExocallError) {
  let page = try makePage()
  exo_store64(sharedPage, 41)
  let end = end(
    make(library, ["inherits"]) { (record, environment) throws(ExocallError) in
      let handle = try page.grant(to: environment, CapabilityRights([.read, .write])).handle
      record.capabilities = [("page", handle)]
    })
  Promises.check(
    end == .exited(status: 0) && exo_load64(sharedPage + 8) == 42,
    "a process finds the capability that it inherits by name")
  try Exocall.unmap(sharedPage, pages: 1)
  try page.drop()
}

/// A group of ten, ended by one signal.
private func many(_ library: Library) throws(ExocallError) {
  final class Holder {
    var process: Process
    init(_ process: consuming Process) { self.process = process }
  }
  var all: [Holder] = []
  for _ in 0..<10 {
    guard
      let process = make(
        library, ["handle"], { (record, _) throws(ExocallError) in record.takesSignals = true })
    else { return Promises.check(false, "a process was made") }
    all.append(Holder(process))
  }
  let group = ProcessGroup(all.map { $0.process.environment })
  Promises.check(group.send(.hangUp) == 10, "a signal goes to all of a group")
  var right = 0
  for holder in all where try holder.process.wait() == .exited(status: 129) { right += 1 }
  Promises.check(right == 10, "and ends \(right) of 10")
}
