import Glibc
import TestSupport
import Testing

/// TAP devices with several queues, in namespaces that the tests make.
extension ExorunTests {
  @Suite(.serialized) struct NetworkQueueTests {
    /// Asks ports 7 of two addresses from forty ports, ten times each, and prints how many answers were right.
    private static let asking = """
      import socket
      right = 0
      for number in range(40):
          asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
          asker.settimeout(5)
          for turn in range(10):
              words = b"%d %d" % (number, turn)
              asker.sendto(words, ("10.77.0.%d" % (2 + number % 2), 7))
              try:
                  right += asker.recv(100) == words
              except OSError:
                  pass
      print(right)
      """
    private static let twoEchoes = """
      [machine]
      processors = 2
      net = "tap:tap0"
      [[environment]]
      name = "a"
      image = "echo"
      arguments = ["7"]
      variables = { EXO_IP = "10.77.0.2/24" }
      time-limit = "60s"
      [[environment]]
      name = "b"
      image = "echo"
      arguments = ["7"]
      variables = { EXO_IP = "10.77.0.3/24" }
      time-limit = "60s"
      """

    /// How often the thread of each queue has slept, by its name.
    private func sleeps(_ guest: RunningCommand) throws -> [String: Int] {
      let text = try Command("/bin/sh", ["-c", "cat /proc/\(guest.process)/task/*/status"]).run().output
      var found: [String: Int] = [:]
      var name = ""
      for line in text.split(separator: "\n") {
        let words = line.split(whereSeparator: \.isWhitespace)
        if words.count == 2, words[0] == "Name:" { name = String(words[1]) }
        if words.count == 2, words[0] == "voluntary_ctxt_switches:", name.hasPrefix("exo-net") {
          found[name] = Int(words[1])
        }
      }
      return found
    }

    @Test(
      .requires(.kvm), .requires(.root), .requires(.program("ip", package: "iproute2")),
      .requires(.program("python3", package: "python3")))
    func eachProcessorHasAQueue() throws {
      let space = try NetworkNamespace()
      try space.addTap("tap0", hasQueues: true)
      let scratch = Scratch()
      let file = scratch.file("two.toml", Array(Self.twoEchoes.utf8))
      let guest = try space.exorun("up", file).start()
      for name in ["a", "b"] {
        try #require(guest.waitForOutput("\(name) | ready at port 7"), "\(guest.finish())")
      }
      // Linux has as many as are open.
      let queues = try space.command("/bin/ls", "/sys/class/net/tap0/queues").run()
      #expect(queues.output.contains("rx-1") && !queues.output.contains("rx-2"), "\(queues)")
      let before = try sleeps(guest)
      #expect(before.keys.sorted() == ["exo-net0", "exo-net1"])
      let asked = try space.command("/usr/bin/python3", "-c", Self.asking).run()
      #expect(asked.output == "400\n", "\(asked)")
      // Packets came by both.
      for (name, count) in try sleeps(guest) { #expect(count > before[name] ?? 0, "\(name)") }
      guest.signal(SIGTERM)
      _ = guest.finish()
    }

    /// Opens queues of the devices that it is told, and has exorun take them over.
    private static let opening = """
      import fcntl, os, struct, sys
      numbers = []
      for name in sys.argv[1].split(","):
          number = os.open("/dev/net/tun", os.O_RDWR)
          fcntl.ioctl(number, 0x400454ca, struct.pack("16sH22x", name.encode(), 0x5102))
          os.set_inheritable(number, True)
          numbers.append(str(number))
      os.execv(sys.argv[2], sys.argv[2:3] + ["launch", "--net", "tap:fd=" + ",".join(numbers)] + sys.argv[3:])
      """

    @Test(
      .requires(.kvm), .requires(.root), .requires(.program("ip", package: "iproute2")),
      .requires(.program("ping", package: "iputils-ping")),
      .requires(.program("python3", package: "python3")))
    func queuesComeByDescriptors() throws {
      let space = try NetworkNamespace()
      try space.addTap("tap0", hasQueues: true)
      try space.addTap("tap1", hasQueues: true)
      func launch(_ devices: String) -> Command {
        let plain = Command.exorun()
        var command = space.command(
          "/usr/bin/python3", "-c", Self.opening, devices, plain.path, "--env", "EXO_IP=10.77.0.2/24", "echo",
          "7")
        command.variables = plain.variables
        return command
      }
      let refused = try launch("tap0,tap1").run()
      #expect(refused.status == .exited(125) && refused.errors.contains("the network cannot be connected"))
      let guest = try launch("tap0,tap0,tap0").start()
      try #require(guest.waitForOutput("ready at port 7"), "\(guest.finish())")
      #expect(try sleeps(guest).count == 3)
      let pinged = try space.command(
        "/usr/bin/ping", "-n", "-c", "3", "-i", "0.2", "-W", "5", "-I", "tap0", "10.77.0.2"
      ).run()
      #expect(pinged.status == .exited(0), "\(pinged)")
      guest.signal(SIGTERM)
      _ = guest.finish()
    }
  }
}
