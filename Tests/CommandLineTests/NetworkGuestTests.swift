import Glibc
import TestSupport
import Testing

extension Trait where Self == ConditionTrait {
  fileprivate static var namespaces: Self { .requires(.program("ip", package: "iproute2")) }
  fileprivate static var ping: Self { .requires(.program("ping", package: "iputils-ping")) }
  fileprivate static var nc: Self { .requires(.program("nc", package: "netcat-openbsd")) }
}

/// Guests on networks of Linux's own, with programs that are not ours at the other end. All of it is within namespaces that the
/// tests make.
extension ExorunTests {
  @Suite(.serialized) struct NetworkGuestTests {
    /// A guest that echoes, started; the namespace and the process live as long as this.
    private func echo(
      in space: NetworkNamespace, _ network: String, _ more: String...
    ) throws -> RunningCommand {
      var command = space.exorun("launch", "--net", network)
      command.arguments += more + ["--env", "EXO_IP=10.77.0.2/24", "--env", "EXO_IP6=fd77::2", "echo", "7"]
      let running = try command.start()
      try #require(running.waitForOutput("ready at port 7"), "\(running.finish())")
      return running
    }

    private func expectEcho(_ text: String, from host: String, _ port: String, in space: NetworkNamespace)
      throws
    {
      // It ends a second after the answer.
      let command = space.command("/usr/bin/nc", "-u", "-w", "2", host, port).reading(.text(text))
      let result = try command.run()
      #expect(result.output == text, "\(host): \(result)")
    }

    @Test(.requires(.kvm), .requires(.root), .namespaces, .ping, .nc, arguments: ["tap:tap0", "veth:veth1"])
    func linuxReachesTheGuest(_ network: String) throws {
      let space = try NetworkNamespace()
      if network == "tap:tap0" { try space.addTap("tap0") } else { try space.addPair("veth0", "veth1") }
      let guest = try echo(in: space, network)
      for (host, size) in [
        ("10.77.0.2", "56"), ("fd77::2", "56"), ("10.77.0.2", "4000"), ("fd77::2", "4000"),
      ] {
        let result = try space.command(
          "/usr/bin/ping", "-n", "-c", "3", "-i", "0.2", "-W", "5", "-s", size, host
        ).run()
        #expect(result.status == .exited(0) && result.output.contains(" 0% packet loss"), "\(result)")
      }
      try expectEcho("a datagram by way of \(network)\n", from: "10.77.0.2", "7", in: space)
      try expectEcho("and one by IPv6\n", from: "fd77::2", "7", in: space)
      // Idle, it costs next to nothing: less than a fifth of a processor, with all of its threads.
      let before = guest.processorTicks
      usleep(1_000_000)
      #expect(guest.processorTicks - before < 20)
      guest.signal(SIGTERM)
      #expect(guest.finish().status == .exited(130) || guest.finish().status == .exited(143))
    }

    /// Two tasks of one environment, each at its port.
    @Test(.requires(.kvm), .requires(.root), .namespaces, .nc)
    func tasksAnswerAtTwoPorts() throws {
      let space = try NetworkNamespace()
      try space.addTap("tap0")
      let guest = try space.exorun(
        "launch", "--net", "tap:tap0", "--env", "EXO_IP=10.77.0.2/24", "echo", "7", "--tasks", "--count", "4"
      ).start()
      try #require(guest.waitForOutput("ready at port 8"), "\(guest.finish())")
      for (text, port) in [("a\n", "7"), ("b\n", "8"), ("c\n", "8"), ("d\n", "7")] {
        try expectEcho(text, from: "10.77.0.2", port, in: space)
      }
      let result = guest.finish()
      #expect(result.status == .exited(0) && result.output.contains("4 echoed"), "\(result)")
    }

    /// What `trace --pcap` writes is read by tcpdump, and has the packets that went each way.
    @Test(
      .requires(.kvm), .requires(.root), .namespaces, .nc,
      .requires(.program("tcpdump", package: "tcpdump")))
    func aCaptureIsReadByTcpdump() throws {
      let space = try NetworkNamespace()
      try space.addTap("tap0")
      let scratch = Scratch()
      defer { _ = try? Command("/bin/rm", ["-rf", scratch.path + "/exo"]).run() }
      var command = space.exorun(
        "launch", "--net", "tap:tap0", "--env", "EXO_IP=10.77.0.2/24", "echo", "7")
      command.variables["XDG_RUNTIME_DIR"] = scratch.path
      let guest = try command.start()
      try #require(guest.waitForOutput("ready at port 7"), "\(guest.finish())")
      for _ in 0..<500 where (try? Command("/bin/ls", [scratch.path + "/exo"]).run().output)?.isEmpty ?? true
      {
        usleep(10_000)
      }
      let file = scratch.file("packets.pcapng")
      var trace = Command.exorun(["trace", "--pcap", file])
      trace.variables["XDG_RUNTIME_DIR"] = scratch.path
      let capture = try trace.start()
      // The file begins when the machine has answered.
      for _ in 0..<500 where (try? Command("/usr/bin/test", ["-s", file]).run().status) != .exited(0) {
        usleep(10_000)
      }
      try expectEcho("captured\n", from: "10.77.0.2", "7", in: space)
      usleep(100_000)
      capture.signal(SIGINT)
      #expect(capture.finish().status == .exited(130))
      guest.signal(SIGTERM)
      _ = guest.finish()
      let read = try Command("/usr/bin/tcpdump", ["-n", "-r", file, "udp port 7"]).run()
      #expect(read.status == .exited(0), "\(read)")
      #expect(read.output.contains("> 10.77.0.2.7: UDP, length 9"), "\(read)")
      #expect(read.output.contains("IP 10.77.0.2.7 >"), "\(read)")
      let bytes = try Command("/usr/bin/grep", ["-a", "-c", "to echo (1): delivered", file]).run()
      #expect(bytes.status == .exited(0), "no packet says who got it")
    }

    @Test(.requires(.kvm), .requires(.root), .namespaces, arguments: ["tap:tap0", "veth:veth1"])
    func theGuestReachesLinux(_ network: String) throws {
      let space = try NetworkNamespace()
      if network == "tap:tap0" { try space.addTap("tap0") } else { try space.addPair("veth0", "veth1") }
      for (host, size) in [
        ("10.77.0.1", "56"), ("fd77::1", "56"), ("10.77.0.1", "5000"), ("fd77::1", "5000"),
      ] {
        let result = try space.exorun(
          "launch", "--net", network, "--env", "EXO_IP=10.77.0.2/24", "--env", "EXO_IP6=fd77::2", "ping",
          host,
          "--count", "3", "--size", size
        ).run()
        #expect(result.status == .exited(0), "\(result)")
        #expect(result.output.contains("3 of 3 answered"), "\(result)")
      }
      // Nobody is there.
      let result = try space.exorun(
        "launch", "--net", network, "--env", "EXO_IP=10.77.0.2/24", "ping", "10.77.0.99", "--count", "1"
      ).run()
      #expect(result.status == .exited(1) && result.output.contains("0 of 1 answered"), "\(result)")
    }

    @Test(
      .requires(.kvm), .requires(.root), .namespaces,
      .requires(.program("dnsmasq", package: "dnsmasq-base")))
    func addressAndNameFromDnsmasq() throws {
      let space = try NetworkNamespace()
      try space.addTap("tap0")
      let server = try space.command(
        "/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--interface=tap0",
        "--bind-dynamic",
        "--dhcp-range=10.77.0.50,10.77.0.60,255.255.255.0,1h", "--dhcp-authoritative", "--leasefile-ro",
        "--no-ping",
        "--no-resolv", "--no-hosts", "--address=/guest.example/10.77.0.1", "--user=root", "--pid-file="
      ).start()
      let result = try space.exorun(
        "launch", "--net", "tap:tap0", "ping", "guest.example", "--count", "2"
      ).run()
      #expect(result.status == .exited(0), "\(result)")
      #expect(
        result.output.contains("address 10.77.0.5") || result.output.contains("address 10.77.0.60"),
        "\(result)")
      #expect(result.output.contains("guest.example is 10.77.0.1\n"), "\(result)")
      let absent = try space.exorun("launch", "--net", "tap:tap0", "ping", "no.such.name").run()
      #expect(absent.status == .exited(1) && absent.output.contains("no such name"), "\(absent)")
      #expect(server.isAlive)
      server.signal(SIGTERM)
      _ = server.finish()
    }

    @Test(
      .requires(.kvm), .requires(.root), .namespaces, .nc,
      .requires(.program("passt", package: "passt")))
    func withoutPrivilegesByPasst() throws {
      let space = try NetworkNamespace()
      // passt takes its addresses from the interface of a default route; nothing is behind this one.
      try space.addPair("veth0", "veth1")
      try space.ip("route", "add", "default", "via", "10.77.0.9")
      var command = space.exorun("launch", "--net", "passt", "--publish", "7007:7/udp", "echo", "7")
      command.limit = .seconds(60)
      let guest = try command.start()
      try #require(guest.waitForOutput("ready at port 7"), "\(guest.finish())")
      try expectEcho("through passt\n", from: "127.0.0.1", "7007", in: space)
      guest.signal(SIGTERM)
      _ = guest.finish()
    }

    /// What it is for: a user who may open KVM's device and nothing else, without a capability of Linux and without a way to get one.
    @Test(
      .requires(.kvm), .requires(.root), .namespaces, .nc,
      .requires(.program("passt", package: "passt")), .requires(.program("setpriv", package: "util-linux")))
    func anOrdinaryUserHasANetworkByPasst() throws {
      let user: UInt32 = 65_534
      let space = try NetworkNamespace()
      try space.addPair("veth0", "veth1")
      try space.ip("route", "add", "default", "via", "10.77.0.9")
      let scratch = Scratch()
      defer { _ = try? Command("/bin/rm", ["-rf", scratch.path]).run() }
      chmod(scratch.path, 0o755)
      // Where it was built need not be open to everybody, nor is the device itself to change hands.
      let copy = scratch.file("exorun")
      #expect(try Command("/bin/cp", [Command.exorun().path, copy]).run().status == .exited(0))
      let runtime = scratch.path + "/runtime"
      mkdir(runtime, 0o700)
      chown(runtime, user, user)
      let device = "/dev/exo-test-kvm-\(getpid())"
      var kvm = stat()
      try #require(stat("/dev/kvm", &kvm) == 0)
      try #require(mknod(device, S_IFCHR | 0o600, kvm.st_rdev) == 0)
      defer { unlink(device) }
      chown(device, user, user)
      var command = space.command(
        "/usr/bin/setpriv", "--reuid=\(user)", "--regid=\(user)", "--clear-groups", "--inh-caps=-all",
        "--bounding-set=-all", "--no-new-privs", copy, "launch", "--device", device, "--net", "passt",
        "--publish", "7007:7/udp", "echo", "7")
      command.variables = ["NO_COLOR": "", "XDG_RUNTIME_DIR": runtime]
      let guest = try command.start()
      try #require(guest.waitForOutput("ready at port 7"), "\(guest.finish())")
      let status = try Command("/bin/cat", ["/proc/\(guest.process)/status"]).run().output
      #expect(status.contains("\nUid:\t\(user)\t\(user)\t\(user)\t\(user)\n"), "\(status)")
      #expect(status.contains("\nCapEff:\t0000000000000000\n"), "\(status)")
      try expectEcho("by an ordinary user\n", from: "127.0.0.1", "7007", in: space)
      guest.signal(SIGTERM)
      // passt gave it the address of the interface, by DHCP.
      let result = guest.finish()
      #expect(result.output.hasPrefix("address 10.77.0.1, "), "\(result)")
    }

    @Test(.requires(.kvm)) func environmentsTalkThroughTheSwitch() throws {
      let path = "/tmp/exo-switch-\(getpid()).toml"
      defer { unlink(path) }
      let text = """
        [machine]
        net = "switch"
        [[environment]]
        name = "server"
        image = "echo"
        variables = { EXO_IP = "10.0.0.2/24" }
        time-limit = "20s"
        [[environment]]
        name = "client"
        image = "ping"
        arguments = ["10.0.0.2", "--count", "5", "--size", "3000"]
        variables = { EXO_IP = "10.0.0.3/24" }
        [[environment]]
        name = "thief"
        image = "ping"
        arguments = ["10.0.0.2"]
        variables = { EXO_IP = "10.0.0.2/24" }
        """
      let file = try #require(fopen(path, "w"))
      fputs(text, file)
      fclose(file)
      let running = try Command.exorun("up", path).start()
      #expect(running.waitForOutput("client | 5 of 5 answered"))
      // Whoever wants an address that is another's is refused it.
      #expect(
        running.waitForOutput("thief | ping: no network")
          || running.waitForOutput("server | echo: no network"))
      running.signal(SIGTERM)
      _ = running.finish()
    }

    @Test func whatIsNoNetworkIsRefused() throws {
      for words in [
        ["--net", "bridge"], ["--net", "tap:"], ["--net", "tap:fd=x"],
        ["--net", "tap:fd=3,"], ["--net", "tap:fd=3,3"],
        ["--net", "veth:a-name-that-is-too-long"],
      ] {
        let result = try Command.exorun(["launch"] + words + ["hello"]).run()
        #expect(result.status == .exited(125), "\(words): \(result)")
      }
      try expectComplaint(
        125, "ports are published by --net passt only",
        .exorun("launch", "--net", "switch", "--publish", "80:80", "hello"))
      try expectComplaint(
        125, "the network cannot be connected", .exorun("launch", "--net", "veth:nosuchdevice", "hello"))
    }
  }
}
