import Glibc
import TestSupport
import Testing

/// What others make of packets, good and bad: captures that are played again, and nonsense. In the tests' own namespaces.
extension ExorunTests {
  @Suite(.serialized) struct NetworkGarbageTests {
    private func ask(_ text: String, in space: NetworkNamespace) throws {
      let result = try space.command("/usr/bin/nc", "-u", "-w", "2", "10.77.0.2", "7").reading(.text(text))
        .run()
      #expect(result.output == text, "\(result)")
    }

    /// One request, captured, comes another fifty times: each is answered.
    @Test(
      .requires(.kvm), .requires(.root), .requires(.program("ip", package: "iproute2")),
      .requires(.program("nc", package: "netcat-openbsd")),
      .requires(.program("tcpdump", package: "tcpdump")),
      .requires(.program("tcpreplay", package: "tcpreplay")))
    func aCaptureIsPlayedAgain() throws {
      let space = try NetworkNamespace()
      try space.addPair("veth0", "veth1")
      let scratch = Scratch()
      defer { _ = try? Command("/bin/rm", ["-rf", scratch.path + "/exo"]).run() }
      var command = space.exorun(
        "launch", "--net", "veth:veth1", "--env", "EXO_IP=10.77.0.2/24", "echo", "7", "--count", "51")
      command.variables["XDG_RUNTIME_DIR"] = scratch.path
      let guest = try command.start()
      try #require(guest.waitForOutput("ready at port 7"), "\(guest.finish())")
      for _ in 0..<500 where (try? Command("/bin/ls", [scratch.path + "/exo"]).run().output)?.isEmpty ?? true
      {
        usleep(10_000)
      }
      // Not by tcpdump on the interface: Linux leaves the checksum out there, which exorun completes.
      let (all, file) = (scratch.file("all.pcapng"), scratch.file("request.pcap"))
      var trace = Command.exorun(["trace", "--pcap", all])
      trace.variables["XDG_RUNTIME_DIR"] = scratch.path
      let capture = try trace.start()
      for _ in 0..<500 where (try? Command("/usr/bin/test", ["-s", all]).run().status) != .exited(0) {
        usleep(10_000)
      }
      try ask("again\n", in: space)
      usleep(100_000)
      capture.signal(SIGINT)
      #expect(capture.finish().status == .exited(130))
      let chosen = try Command(
        "/usr/bin/tcpdump", ["-r", all, "-w", file, "-Z", "root", "udp dst port 7"]
      ).run()
      #expect(chosen.status == .exited(0), "\(chosen)")
      let replay = try space.command(
        "/usr/bin/tcpreplay", "--quiet", "--pps=1000", "--loop=50", "--intf1=veth0", file
      ).run()
      #expect(replay.status == .exited(0), "\(replay)")
      let result = guest.finish()
      #expect(result.status == .exited(0) && result.output.contains("51 echoed"), "\(result)")
    }

    /// Headers of every protocol that the library knows with random fields, fragments of nothing, and random bytes.
    @Test(
      .requires(.kvm), .requires(.root), .requires(.program("ip", package: "iproute2")),
      .requires(.program("nc", package: "netcat-openbsd")),
      .requires(.program("scapy", package: "python3-scapy")))
    func nonsenseFromScapyEndsNothing() throws {
      let space = try NetworkNamespace()
      try space.addTap("tap0")
      let guest = try space.exorun(
        "launch", "--net", "tap:tap0", "--env", "EXO_IP=10.77.0.2/24", "--env", "EXO_IP6=fd77::2", "echo", "7"
      ).start()
      try #require(guest.waitForOutput("ready at port 7"), "\(guest.finish())")
      try ask("before\n", in: space)
      let script = """
        import logging, random, struct
        logging.getLogger("scapy").setLevel(logging.ERROR)
        from scapy.all import *
        random.seed(7)
        conf.verb = 0
        to = Ether(dst=getmacbyip("10.77.0.2"))
        four = lambda **more: IP(dst="10.77.0.2", **more)
        six = lambda: IPv6(src="fd77::1", dst="fd77::2")
        text = lambda most: Raw(RandString(random.randrange(1, most)))
        wire = conf.L2socket(iface="tap0")
        sent = 0
        for _ in range(150):
          for packet in [
              to / fuzz(four() / UDP(dport=7)) / text(80), to / four() / fuzz(UDP(dport=7)),
              to / fuzz(four() / ICMP()), to / fuzz(six() / ICMPv6EchoRequest()),
              to / six() / fuzz(IPv6ExtHdrFragment()) / UDP(dport=7),
              to / six() / fuzz(ICMPv6ND_NS()) / fuzz(ICMPv6NDOptSrcLLAddr()),
              Ether(dst="ff:ff:ff:ff:ff:ff") / fuzz(ARP(pdst="10.77.0.2")),
              to / four(flags=1, frag=random.randrange(8000), id=7, proto=17) / text(64), to / text(1400)]:
            try:
              wire.send(packet)
              sent += 1
            except (OSError, struct.error, ValueError, TypeError, AttributeError):
              pass  # some random fields cannot even be put together
        print("sent", sent)
        """
      let garbage = try space.command("/usr/bin/python3", "-c", script).run()
      #expect(garbage.status == .exited(0) && garbage.output.hasPrefix("sent 1"), "\(garbage)")
      try ask("after\n", in: space)
      guest.signal(SIGTERM)
      let result = guest.finish()
      #expect(result.status == .exited(143) || result.status == .exited(130), "\(result)")
    }
  }
}
