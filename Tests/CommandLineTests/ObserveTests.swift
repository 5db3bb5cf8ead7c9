import CKVM
import Glibc
import JSONText
import TestSupport
import Testing

extension ExorunTests {
  /// `ps`, `top`, `trace` and `kill`, and the socket they use.
  @Suite(.requires(.kvm)) struct Observe {
    /// Machines with a folder of their own for their sockets.
    private final class Place {
      let scratch = Scratch()
      private var running: [RunningCommand] = []
      var folder: String { scratch.path + "/exo" }

      deinit {
        for command in running { command.signal(SIGKILL) }
        running = []
        _ = try? Command("/bin/rm", ["-rf", folder]).run()
      }

      func exorun(_ arguments: String...) -> Command {
        var command = Command.exorun(arguments)
        command.variables["XDG_RUNTIME_DIR"] = scratch.path
        return command
      }
      var sockets: [String] {
        var names: [String] = []
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
          let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
          }
          if name.hasSuffix(".sock") { names.append(name) }
        }
        return names.sorted()
      }

      /// Starts a machine and waits until it answers. Returns its name too.
      func start(_ command: Command) throws -> (RunningCommand, name: String) {
        let before = Set(sockets)
        let started = try command.start()
        running.append(started)
        for _ in 0..<1000 {
          if let new = sockets.first(where: { !before.contains($0) }) {
            return (started, String(new.dropLast(5)))
          }
          usleep(10_000)
        }
        throw Silent()
      }
      struct Silent: Error {}

      /// A guest that waits for ever, by itself.
      func cat() throws -> (RunningCommand, name: String) {
        try start(exorun("launch", "cat").reading(.waiting))
      }
      /// Two environments that compute for ever, `a` and `b`; `b` at most so long.
      func pair(_ limit: String) throws -> (RunningCommand, name: String) {
        let image = scratch.file("spin", TinyImage.spinning.bytes)
        let text = """
          [[environment]]
          name = "a"
          image = "\(image)"
          time-limit = "40s"
          [[environment]]
          name = "b"
          image = "\(image)"
          time-limit = "\(limit)"
          """
        return try start(exorun("up", scratch.file("up.toml", Array(text.utf8))))
      }
      func connect(_ name: String) -> Int32 { ckvm_socket_connect("\(folder)/\(name).sock") }
    }

    private func json(_ command: Command) throws -> JSON {
      let result = try command.run()
      #expect(result.status == .exited(0), "\(result.errors)")
      return try JSON(parsing: result.output)
    }

    // --- ps

    @Test func psListsWhatRuns() throws {
      let place = Place()
      #expect(try place.exorun("ps").run().output == "MACHINE  ENV  NAME  STATE  TIME  FRAMES  SLICES\n")
      #expect(try json(place.exorun("ps", "--json")).array == [])
      let (cat, name) = try place.cat()
      let lines = try place.exorun("ps").run().output.split(separator: "\n")
      #expect(lines.count == 2)
      #expect(lines[1].split(separator: " ").prefix(4) == [Substring(name), "1", "cat", "sleeping"])
      let machines = try json(place.exorun("ps", "--json", "--machine", name))
      let environment = try #require(machines.array?.first?["environments"]?.array?.first)
      #expect(environment["name"]?.string == "cat")
      #expect((environment["frames"]?.number ?? 0) > 10)
      #expect((environment["exocalls"]?.number ?? 0) >= 1)
      cat.signal(SIGINT)
      #expect(cat.finish().status == .exited(130))
      #expect(place.sockets == [])
    }

    @Test func aShortRunHasNoSocketAndALongOneRemovesItsOwn() throws {
      let place = Place()
      #expect(try place.exorun("launch", "hello").run().status == .exited(0))
      #expect(place.sockets == [])
      let (pair, _) = try place.pair("40s")
      #expect(place.sockets.count == 1)
      pair.signal(SIGTERM)
      #expect(pair.finish().status == .exited(143))
      #expect(place.sockets == [])
    }

    // --- several machines

    @Test func whichOfTwoMachinesMustBeSaid() throws {
      let place = Place()
      let (first, one) = try place.cat()
      let (second, two) = try place.cat()
      let list = try place.exorun("ps").run().output
      #expect(list.contains("\(one)  ") && list.contains("\(two)  "))
      for command in [["top", "--once"], ["trace", "--for", "10ms"], ["kill", "cat"]] {
        var ambiguous = place.exorun()
        ambiguous.arguments = command
        let result = try ambiguous.run()
        #expect(result.status == .exited(125))
        #expect(
          result.errors.contains("--machine") && result.errors.contains(one) && result.errors.contains(two))
      }
      #expect(try place.exorun("kill", "--machine", two, "cat").run().status == .exited(0))
      #expect(second.finish().status == .exited(137))
      #expect(first.isAlive)
      #expect(try place.exorun("top", "--once", "--interval", "20ms").run().status == .exited(0))
      try expectComplaint(125, "no machine `\(two)`", place.exorun("top", "--machine", two))
      first.signal(SIGINT)
      #expect(first.finish().status == .exited(130))
      try expectComplaint(125, "no machine is running", place.exorun("top"))
    }

    @Test func aSocketOfAMachineThatDiedIsRemoved() throws {
      let place = Place()
      let (cat, _) = try place.cat()
      cat.signal(SIGKILL)
      #expect(cat.finish().status == .signalled(SIGKILL))
      #expect(place.sockets.count == 1)
      #expect(try json(place.exorun("ps", "--json")).array == [])
      #expect(place.sockets == [])
    }

    // --- who may

    private func mode(_ path: String) -> UInt32 {
      var status = stat()
      return stat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
    }

    @Test func onlyTheUserCanReachTheSocket() throws {
      let place = Place()
      let (_, name) = try place.cat()
      #expect(mode(place.folder) == 0o700)
      #expect(mode("\(place.folder)/\(name).sock") == 0o600)
      chmod(place.folder, 0o750)
      try expectComplaint(125, "chmod 700", place.exorun("ps"))
      // The guest runs all the same.
      #expect(try place.exorun("launch", "--time-limit", "200ms", "cat").run().status == .exited(0))
    }

    @Test func withoutARuntimeFolderTheSocketIsAtHome() throws {
      let place = Place()
      var cat = place.exorun("launch", "cat").reading(.waiting)
      cat.variables["XDG_RUNTIME_DIR"] = ""
      cat.variables["HOME"] = place.scratch.path
      let running = try cat.start()
      var list = place.exorun("ps")
      list.variables = cat.variables
      var found = ""
      for _ in 0..<500 where !found.contains("cat") {
        usleep(10_000)
        found = try list.run().output
      }
      #expect(found.contains("cat"))
      #expect(mode("\(place.scratch.path)/.exo") == 0o700)
      running.signal(SIGINT)
      _ = running.finish()
      rmdir("\(place.scratch.path)/.exo")
      list.variables["XDG_RUNTIME_DIR"] = "relative"
      try expectComplaint(125, "no absolute path", list)
    }

    /// Even where the modes have been opened.
    @Test(
      .requires(.root), .requires(.program("setpriv", package: "util-linux")),
      .requires(.program("perl", package: "perl-base")))
    func anotherUserIsTurnedAwayByName() throws {
      let place = Place()
      let (_, name) = try place.cat()
      chmod(place.scratch.path, 0o755)
      chmod(place.folder, 0o755)
      chmod("\(place.folder)/\(name).sock", 0o666)
      let script = """
        use IO::Socket::UNIX; $SIG{PIPE} = 'IGNORE'; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "no: $!";
        print $s "{\\"exo\\":1,\\"do\\":\\"snapshot\\"}\\n"; print while <$s>;
        """
      let result = try Command(
        "/usr/bin/env",
        [
          "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "perl", "-e", script,
          "\(place.folder)/\(name).sock",
        ]
      ).run()
      #expect(result.output.contains("not-permitted"), "\(result.output) \(result.errors)")
      #expect(!result.output.contains("environments"))
    }

    // --- kill

    @Test func oneOfTwoIsEndedAndTheOtherGoesOn() throws {
      let place = Place()
      let (up, name) = try place.pair("6s")
      #expect(try place.exorun("kill", "a").run().status == .exited(0))
      // It returns when the environment has ended, and no sooner.
      let after = try json(place.exorun("ps", "--json", "--machine", name))
      #expect(after.array?.first?["environments"]?.array?.map { $0["name"]?.string } == ["b"])
      let result = up.finish()
      #expect(result.status == .exited(137))
      #expect(result.errors.contains("exorun: a (environment 1): killed\n"), "\(result.errors)")
      #expect(
        result.errors.contains("exorun: b (environment 2): ended at its time limit"), "\(result.errors)")
    }

    @Test func whatIsToBeEndedMustBeKnown() throws {
      let place = Place()
      let (cat, _) = try place.cat()
      try expectComplaint(125, "no environment `dog`; it has 1 cat", place.exorun("kill", "dog"))
      try expectComplaint(125, "no environment `2`", place.exorun("kill", "1", "2"))
      #expect(cat.isAlive)
      #expect(try place.exorun("kill", "1").run().status == .exited(0))
      let result = cat.finish()
      #expect(result.status == .exited(137))
      #expect(result.errors == "exorun: cat (environment 1): killed\n")
    }

    // --- top

    @Test func topPrintsOnceWhereNobodyWatches() throws {
      let place = Place()
      let (_, _) = try place.pair("40s")
      let lines = try place.exorun("top", "--interval", "200ms").run().output.split(separator: "\n")
      #expect(lines.count == 4)
      #expect(lines[1].split(separator: " ").prefix(4) == ["ENV", "NAME", "STATE", "CPU"])
      let sample = try json(place.exorun("top", "--once", "--json", "--interval", "300ms"))
      let environments = try #require(sample["environments"]?.array)
      let share = environments.reduce(0) { $0 + ($1["share"]?.number ?? 0) }
      // They have it all, but for what the looks themselves take.
      #expect(share > 0.5 && share < 1.1)
      for environment in environments {
        #expect((environment["slices"]?.number ?? 0) > 0)
        #expect(["running", "runnable"].contains(environment["state"]?.string))
      }
    }

    @Test func topFollowsAsJSONLinesUntilInterrupted() throws {
      let place = Place()
      _ = try place.cat()
      let top = try place.exorun("top", "--json", "--interval", "20ms").start()
      #expect(top.waitForOutput("}\n{"))
      top.signal(SIGINT)
      let result = top.finish()
      #expect(result.status == .exited(130))
      for line in result.output.split(separator: "\n") { #expect((try? JSON(parsing: String(line))) != nil) }
    }

    @Test(arguments: [("q", 0), ("\u{3}", 130)] as [(String, Int32)])
    func topLeavesTheTerminalAsItWas(key: String, code: Int32) throws {
      let place = Place()
      _ = try place.cat()
      var command = place.exorun("top", "--interval", "50ms")
      command.onTerminal = true
      command.variables["NO_COLOR"] = "1"
      let top = try command.start()
      let modes = top.terminalModes
      #expect(top.waitForOutput("sleeping"))
      #expect(top.terminalModes != modes)
      top.enter(key)
      let result = top.finish()
      #expect(result.status == .exited(code))
      #expect(top.terminalModes == modes)
      #expect(result.output.hasPrefix("\u{1b}[?1049h"))
      #expect(result.output.hasSuffix("\u{1b}[?1049l"), "\(result.output.suffix(80).debugDescription)")
      #expect(!result.output.contains("\u{1b}[1m"))
    }

    @Test func topEndsWithItsMachine() throws {
      let place = Place()
      let (cat, _) = try place.cat()
      let top = try place.exorun("top", "--json", "--interval", "20ms").start()
      #expect(top.waitForOutput("\n"))
      cat.signal(SIGINT)
      #expect(top.finish().status == .exited(0))
    }

    // --- trace

    @Test func aTraceFileIsWholeAndItsPhasesBalance() throws {
      let place = Place()
      _ = try place.pair("40s")
      let file = place.scratch.file("trace.json")
      let trace = try place.exorun("trace", "--output", file).start()
      usleep(700_000)
      trace.signal(SIGINT)
      #expect(trace.finish().status == .exited(130))
      let json = try JSON(parsing: try #require(readText(file)))
      let events = try #require(json["traceEvents"]?.array)
      #expect(events.contains { $0["ph"]?.string == "X" })
      var open: [Double: [Double]] = [:]
      var pairs = 0
      for event in events.filter({ ["B", "E"].contains($0["ph"]?.string) })
        .sorted(by: { ($0["ts"]?.number ?? 0) < ($1["ts"]?.number ?? 0) })
      {
        let lane = try #require(event["tid"]?.number)
        if event["ph"]?.string == "B" {
          open[lane, default: []].append(event["ts"]?.number ?? 0)
        } else {
          #expect(open[lane, default: []].popLast() != nil, "an end without a beginning")
          pairs += 1
        }
      }
      #expect(open.values.allSatisfy { $0.isEmpty }, "a beginning without an end")
      #expect(pairs > 2)
      for name in ["processor 0", "service"] {
        #expect(events.contains { $0["ph"]?.string == "M" && $0["args"]?["name"]?.string == name })
      }
    }

    @Test func aTraceIsRestrictedToWhatIsAskedFor() throws {
      let place = Place()
      _ = try place.pair("40s")
      let result = try place.exorun(
        "trace", "--for", "400ms", "--event", "slice", "--environment", "b", "--format", "json"
      ).run()
      #expect(result.status == .exited(0))
      let lines = try result.output.split(separator: "\n").map { try JSON(parsing: String($0)) }
      #expect(lines.count > 3)
      for line in lines.dropFirst() {
        #expect(line["event"]?.string == "slice")
        #expect(line["environment"]?.number == 2)
      }
      try expectComplaint(125, "no kind of event", place.exorun("trace", "--event", "everything"))
      try expectComplaint(125, "no environment `c`", place.exorun("trace", "--environment", "c"))
      try expectComplaint(125, "cannot be written", place.exorun("trace", "--output", "/nonexistent/file"))
    }

    @Test func exocallsAreTracedAndTheEndIsTold() throws {
      let place = Place()
      let busy = place.exorun("launch", "cat")
      var shell = Command(
        "/bin/sh", ["-c", "exec \(busy.path) launch --time-limit 20s cat < /dev/zero > /dev/null"])
      shell.variables = busy.variables
      let (cat, _) = try place.start(shell)
      let trace = try place.exorun("trace", "--event", "exocall", "--event", "environment").start()
      #expect(trace.waitForOutput("console_write"))
      #expect(try place.exorun("kill", "cat").run().status == .exited(0))
      #expect(cat.finish().status == .exited(137))
      let result = trace.finish()
      #expect(result.status == .exited(0))
      #expect(
        result.output.contains("cat (1)             ended: killed, status 137"),
        "\(result.output.suffix(300))")
      #expect(result.output.hasSuffix("the machine has ended\n"))
    }

    // --- clients that mean no good

    private func say(_ text: String, to socket: Int32) {
      _ = text.withCString { send(socket, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
    }
    /// All that comes until the other side closes, or a second has passed.
    private func hear(_ socket: Int32) -> String {
      var limit = timeval(tv_sec: 1, tv_usec: 0)
      setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
      var (all, block) = ([UInt8](), [UInt8](repeating: 0, count: 65_536))
      while true {
        let count = recv(socket, &block, block.count, 0)
        if count <= 0 { return String(decoding: all, as: UTF8.self) }
        all += block[..<count]
      }
    }

    @Test func whatIsNoRequestIsAnsweredAndClosed() throws {
      let place = Place()
      let (_, name) = try place.cat()
      for (text, code) in [
        ("hello\n", "malformed"), ("{\"exo\":9}\n", "version"),
        (String(repeating: "x", count: 5000), "too-long"),
        ("\n", "malformed"), ("{\"exo\":1,\"do\":\"fly\"}\n\u{0}\n", "unknown-request"),
      ] {
        let socket = place.connect(name)
        say(text, to: socket)
        let answer = hear(socket)
        #expect(answer.contains("\"error\":\"\(code)\""), "\(text.prefix(40)): \(answer)")
        close(socket)
      }
      // A request that comes in pieces, and two at once.
      let socket = place.connect(name)
      for piece in ["{\"exo\":1,", "\"do\":\"snap", "shot\"}\n{\"exo\":1,\"do\":\"snapshot\"}\n"] {
        say(piece, to: socket)
        usleep(20_000)
      }
      #expect(hear(socket).split(separator: "\n").count == 2)
      close(socket)
      #expect(try place.exorun("ps").run().status == .exited(0))
    }

    @Test func clientsThatDoNothingKeepNobodyWaiting() throws {
      let place = Place()
      let busy = place.exorun("launch", "cat")
      var shell = Command(
        "/bin/sh", ["-c", "exec \(busy.path) launch --time-limit 20s cat < /dev/zero > /dev/null"])
      shell.variables = busy.variables
      let (cat, name) = try place.start(shell)
      // One asks for everything and reads nothing.
      let deaf = place.connect(name)
      say("{\"exo\":1,\"do\":\"trace\"}\n", to: deaf)
      var idle: [Int32] = []
      for _ in 0..<14 { idle.append(place.connect(name)) }
      func exocalls() throws -> Double {
        let machines = try json(place.exorun("ps", "--json"))
        return machines.array?.first?["environments"]?.array?.first?["exocalls"]?.number ?? 0
      }
      let before = try exocalls()
      usleep(500_000)
      #expect(try exocalls() > before)
      // The last place is taken: the next is told so.
      idle.append(place.connect(name))
      usleep(50_000)
      let one = place.connect(name)
      #expect(hear(one).contains("busy"))
      close(one)
      for socket in idle { close(socket) }
      // Nor does the machine's end wait for one that does not listen.
      #expect(try place.exorun("kill", "cat").run().status == .exited(0))
      #expect(cat.finish().status == .exited(137))
      close(deaf)
    }
  }
}
