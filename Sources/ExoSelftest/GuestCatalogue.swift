import Exo
import ExoGuests

/// A guest that exorun carries with it.
public struct BuiltInGuest: Sendable {
  public let name: String
  /// The image it is part of, which runs it when started under its name.
  public let target: String
  /// One line.
  public let summary: String
  /// Whether it makes processes of other guests, whose images it is given.
  public private(set) var makesProcesses = false
  /// Whether it edits lines itself where its input is a terminal.
  public private(set) var editsLines = false
  /// What `exorun selftest` does with it.
  public let trials: [Trial]

  init(_ name: String, in target: String, _ summary: String, _ trials: [Trial]) {
    self.name = name
    self.target = target
    self.summary = summary
    self.trials = trials
  }

  fileprivate func makingProcesses(editingLines: Bool = false) -> BuiltInGuest {
    var guest = self
    guest.makesProcesses = true
    guest.editsLines = editingLines
    return guest
  }

  /// What it is given from the start, by variable, beside its arguments.
  public func provisions() throws(ImageError) -> [(variable: String, bytes: [UInt8])] {
    makesProcesses ? [(GuestLibrary.variable, try GuestLibrary.bytes())] : []
  }

  /// The image, checked; nil if it was not built in.
  public func image() throws(ImageError) -> GuestImage? {
    guard let bytes = ExoGuests.image(target) else { return nil }
    return try GuestImage(name: name, bytes: bytes)
  }
}

/// The built-in guests, each with the ends it must come to.
public enum GuestCatalogue {
  public static let all: [BuiltInGuest] = [
    BuiltInGuest(
      "hello", in: "GuestHello", "Greets, and prints its arguments, one a line.",
      [
        Trial(output: .exactly("Hello from an environment of its own.\n")),
        Trial(
          arguments: ["one", "--two", "three words here"],
          output: .exactly("Hello from an environment of its own.\none\n--two\nthree words here\n")),
      ]),
    BuiltInGuest(
      "faults", in: "GuestBasics", "Takes every exception an environment may bind, handles it and goes on.",
      [faults]),
    BuiltInGuest(
      "crash", in: "GuestBasics",
      "Ends badly in the way its argument names: null, trap, stack, nx, divide, panic.",
      [
        Trial(ending: .faulted(pageFault), output: .exactly("")),
        Trial(arguments: ["trap"], ending: .faulted(invalidInstruction)),
        Trial(arguments: ["stack"], ending: .faulted(pageFault)),
        Trial(arguments: ["nx"], ending: .faulted(pageFault)),
        Trial(arguments: ["divide"], ending: .faulted(divideError)),
        Trial(
          arguments: ["panic"], ending: .exited(134),
          output: .containing(["crash was asked to panic"])),
        Trial(arguments: ["otherwise"], ending: .exited(2)),
      ]),
    BuiltInGuest(
      "cat", in: "GuestBasics", "Copies its input to its output.",
      [
        Trial(output: .input),
        Trial(input: .text("a line\nand one without an end"), output: .input),
        // More than a pipe holds, so that reading and writing must take turns.
        Trial(input: .lines(20_000), output: .input),
      ]),
    BuiltInGuest(
      "heap", in: "GuestBasics", "Allocates and frees up to its limit, and survives the refusal.",
      [Trial(memory: 8 << 20, output: .containing(["refused and went on\n", "everything was given back\n"]))]),
    BuiltInGuest(
      "events", in: "GuestBasics",
      "Is interrupted by its timer, keeps events out of critical sections, sleeps for one.",
      [Trial(output: .containing(["a sleeper wakes by an event: as promised\n"]))]),
    BuiltInGuest(
      "family", in: "GuestFamily",
      "Makes children out of its own text, shares with them, takes back, stops and ends them.",
      [Trial(output: .containing([" promises kept, 0 broken\n"]))]),
    BuiltInGuest(
      "expose", in: "GuestFamily",
      "Reads its page table and frame list; vectors, guarantees, regions.",
      [Trial(output: .containing([" promises kept, 0 broken\n"]))]),
    BuiltInGuest(
      "transfer", in: "GuestFamily",
      "Calls from one environment into another by gates; stops, ends and abandons callers and callees.",
      [Trial(output: .containing([" promises kept, 0 broken\n"]))]),
    BuiltInGuest(
      "pressure", in: "GuestFamily",
      "Asks its children for frames: one gives, one gives half, one refuses, is repossessed and lives.",
      [Trial(output: .containing([" promises kept, 0 broken\n"]))]),
    BuiltInGuest(
      "soak", in: "GuestFamily",
      "Thirty environments do all of this at once and are killed at random, for SECONDS [SEED].",
      []),
    BuiltInGuest(
      "share", in: "GuestFamily",
      "One end of a share made by `exorun up`: write, read or look, and its name.",
      [Trial(ending: .exited(2), output: .exactly("share: write NAME, read NAME or look NAME\n"))]),
    BuiltInGuest(
      "vm", in: "GuestExos",
      "Virtual memory by a library: demand, copy-on-write, stacks, paging, Appel and Li's primitives.",
      [Trial(output: .containing([" promises kept, 0 broken\n"]))]),
    BuiltInGuest(
      "keys", in: "GuestExos",
      "Protection keys by a library, where the machine has them; the refusal where not.",
      [Trial(output: .containing([" promises kept, 0 broken\n"]))]),
    BuiltInGuest(
      "applications", in: "GuestExos",
      "What faults are good for: collectors, checkpoints, a coherent region, page tables and colours of one's own.",
      [Trial(output: .containing([" promises kept, 0 broken\n"]))]),
    BuiltInGuest(
      "schedulers", in: "GuestExos",
      "Gives its own slices to other environments, by tickets and by deadlines.",
      [Trial(output: .containing([" promises kept, 0 broken\n"]))]),
    BuiltInGuest(
      "threads", in: "GuestExos",
      "Threads by a library: turns, locks, channels, sleeping, deadlocks told, schedulers to choose from.",
      [Trial(output: .containing([" promises kept, 0 broken\n"]))]),
    BuiltInGuest(
      "pipes", in: "GuestUnix",
      "Byte streams between environments that do not trust one another: waiting, ends, deaths, lies.",
      [Trial(output: .containing([" promises kept, 0 broken\n"])), wide]),
    BuiltInGuest(
      "switchdemo", in: "GuestNetwork",
      "Claims packets, sends some through the machine's switch, and is refused what is not its own.",
      [switchdemo]),
    BuiltInGuest(
      "ping", in: "GuestNetwork",
      "Asks HOST for echoes, by address or name: ping HOST [--count N] [--size BYTES].",
      [
        Trial(ending: .exited(2), output: .containing(["ping HOST"])),
        Trial(arguments: ["10.0.0.1"], ending: .exited(1), output: .exactly("ping: no network\n")),
      ]),
    BuiltInGuest(
      "echo", in: "GuestNetwork", "Sends UDP datagrams back, from PORT or 7.",
      [Trial(ending: .exited(1), output: .exactly("echo: no network\n"))]),
    BuiltInGuest(
      "ports", in: "GuestUnix",
      "Ports in the manner of Mach, rights in messages, and an environment by which others find them.",
      [Trial(output: .containing([" promises kept, 0 broken\n"])), wide]),
    BuiltInGuest(
      "calls", in: "GuestUnix",
      "Calls an environment on another processor, by a line of memory each way: waiting, deaths, lies.",
      [Trial(output: .containing([" promises kept, 0 broken\n"])), wide]),
    BuiltInGuest(
      "ipc-soak", in: "GuestUnix",
      "Ten environments talk in every way there is, all checked, for SECONDS.", [wide]),
    BuiltInGuest(
      "processes", in: "GuestUnix",
      "Makes processes of images: arguments, variables, streams, signals, groups, ends.",
      [Trial(output: .containing([" promises kept, 0 broken\n"])), wide]
    ).makingProcesses(),
    BuiltInGuest(
      "sh", in: "GuestUnix",
      "A shell that runs guests: pipes, redirection to files in shared memory, jobs, history.",
      [Trial(input: .text(shellScript), output: .exactly(shellOutput))]
    ).makingProcesses(editingLines: true),
    BuiltInGuest(
      "c", in: "GuestC", "Is written in C, and shows what exo.h offers.",
      [
        Trial(
          arguments: ["one", "two words"], input: .text("a line\nanother, longer than that\nno end"),
          output: .containing([
            "argument 2 is two words\n",
            "line: a line\nline: another, longer\nline:  than that\nline: no end\n",
            "c: 0 broken\n",
          ]))
      ]),
    BuiltInGuest(
      "hostile", in: "GuestHostile",
      "Attacks the exokernel in the way its argument names; --list names them.", Trial.hostile),
  ]

  public static func named(_ name: String) -> BuiltInGuest? { all.first { $0.name == name } }

  private static let shellScript = """
    hello one "two  words" | cat
    echo file > /f; echo more >> /f; cat < /f | wc; ls /
    mkdir /d && echo in > /d/x && ls /d; rm /d || echo kept
    no-such-guest || echo $?
    crash divide > /lost; echo $?
    hello > /g & wait; wc < /g
    rm /none 2> /e; wc < /e; rm /none 2>&1 | wc; rm /none 2>> /e | wc; wc < /e
    cat
    for the job
    """
  private static let shellOutput = """
    Hello from an environment of its own.
    one
    two  words
    2 2 10
    f  10
    x  3
    sh: rm: /d: directory not empty
    kept
    sh: no-such-guest: no such guest
    127
    136
    [7] hello
    1 7 38
    1 8 41
    1 8 41
    0 0 0
    2 16 82
    for the job
    """

  /// The same on two processors.
  private static let wide: Trial = {
    var trial = Trial(output: .containing([" promises kept, 0 broken\n"]))
    trial.processors = 2
    return trial
  }()

  private static let switchdemo: Trial = {
    var trial = Trial(output: .containing(["switchdemo: all promises kept\n"]))
    trial.isOnNetwork = true
    return trial
  }()

  private static let divideError = ExceptionVector(0)
  private static let invalidInstruction = ExceptionVector(6)
  private static let pageFault = ExceptionVector(14)

  private static let faults: Trial = {
    func handling(_ vectors: [String]) -> Trial.Output {
      .containing(
        vectors.map { "\($0) handled\n" } + ["faults: \(vectors.count) of \(vectors.count) handled\n"])
    }
    var trial = Trial(output: handling(everywhere + ["#SS", "#AC", "#XM"]))
    trial.emulatedOutput = handling(everywhere)
    return trial
  }()

  /// Those that ring 3 can raise in 64-bit mode, on any processor. QEMU's emulation, as of version 7.2, calls an #SS of a
  /// bad address #GP, and has no #AC and no #XM.
  private static let everywhere = ["#DE", "#DB", "#BP", "#UD", "#NP", "#GP", "#PF", "#MF"]
}
