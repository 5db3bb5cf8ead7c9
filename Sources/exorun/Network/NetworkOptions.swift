import ArgumentParser
import Exo

/// What a machine's network is connected to, as people type it.
enum NetworkChoice: Hashable, Sendable, ExpressibleByArgument {
  case none
  case inside
  case tap(String)
  case tapDescriptors([Int32])
  case interface(String)
  case passt

  static let form = "none, switch, tap:NAME, tap:fd=NUMBER[,NUMBER...], veth:NAME or passt"

  init?(argument: String) {
    func rest(_ prefix: String) -> String? {
      guard argument.hasPrefix(prefix), argument.utf8.count > prefix.utf8.count else { return nil }
      return String(argument.dropFirst(prefix.count))
    }
    switch argument {
    case "none": self = .none
    case "switch": self = .inside
    case "passt": self = .passt
    default:
      if let text = rest("tap:fd=") {
        let words = text.split(separator: ",", omittingEmptySubsequences: false)
        let numbers = words.compactMap { Int32($0) }
        guard numbers.count == words.count, Set(numbers).count == numbers.count,
          numbers.allSatisfy({ $0 >= 0 })
        else { return nil }
        self = .tapDescriptors(numbers)
      } else if let name = rest("tap:"), name.utf8.count < 16 {
        self = .tap(name)
      } else if let name = rest("veth:"), name.utf8.count < 16 {
        self = .interface(name)
      } else {
        return nil
      }
    }
  }
  static var allValueStrings: [String] { ["none", "switch", "passt"] }
}

/// A port of this host that is the guest's: `8080:80`, `53:53/udp`.
struct PublishedPort: Hashable, Sendable, ExpressibleByArgument {
  var host: UInt16
  var guest: UInt16
  var isUDP = false
  var isTCP = false

  static let form = "HOST:GUEST, with /tcp or /udp for one of them"

  init?(argument: String) {
    let halves = argument.split(separator: "/", omittingEmptySubsequences: false)
    let ports = (halves.first ?? "").split(separator: ":", omittingEmptySubsequences: false)
    guard halves.count <= 2, ports.count == 2, let host = UInt16(ports[0]), let guest = UInt16(ports[1]),
      host > 0,
      guest > 0
    else { return nil }
    (self.host, self.guest) = (host, guest)
    switch halves.count == 2 ? halves[1] : "" {
    case "tcp": isTCP = true
    case "udp": isUDP = true
    case "" where halves.count == 1: (isTCP, isUDP) = (true, true)
    default: return nil
    }
  }
}

/// Options of commands that give guests a network.
struct NetworkOptions: ParsableArguments {
  @Option(
    name: .customLong("net"),
    help: ArgumentHelp(
      "The guest's network: \(NetworkChoice.form) (no privileges needed).", valueName: "network"))
  var choice = NetworkChoice.none

  @Option(
    parsing: .unconditionalSingleValue,
    help: ArgumentHelp(
      "With --net passt: a port of this host that is the guest's; may be repeated.", valueName: "host:guest"))
  var publish: [PublishedPort] = []
}

extension Machine {
  /// Connects its network as chosen.
  func connect(_ choice: NetworkChoice, publishing ports: [PublishedPort]) throws(Failure) {
    guard ports.isEmpty || choice == .passt else {
      throw Failure(.usage, "ports are published by --net passt only")
    }
    let attachment: NetworkAttachment
    switch choice {
    case .none, .inside: return
    case .tap(let name): attachment = .tap(name)
    case .tapDescriptors(let numbers): attachment = .tapDescriptors(numbers)
    case .interface(let name): attachment = .interface(name)
    case .passt: attachment = .stream(try Passt.start(publishing: ports))
    }
    do throws(HostError) { try attach(attachment) } catch {
      throw Failure(.usage, "the network cannot be connected: \(error)")
    }
  }
}
