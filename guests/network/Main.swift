import ExosNetwork
import LibOS

/// Guests that speak to others by packets, told apart by the name they are started under.
@main enum NetworkGuests {
  static func main() {
    do throws(NetworkError) {
      switch Arguments.name {
      case "ping": try ping()
      case "echo": try echo()
      case "switchdemo": switchDemo()
      default:
        print("\(Arguments.name): not one of this image's guests: ping, echo, switchdemo")
        exit(127)
      }
    } catch {
      print("\(Arguments.name): \(error.description)")
      exit(1)
    }
  }

  /// How long a network has to give an address or an answer.
  static let patience: UInt64 = 20_000_000_000

  /// The network, with addresses; says which.
  static func start() throws(NetworkError) -> NetworkInterface {
    let network = try NetworkInterface()
    try network.configure(until: Clock.now + patience)
    let own =
      network.stack.ipv6.map { IPAddress.v6($0) } + (network.stack.ipv4.map { [.v4($0.address)] } ?? [])
    print("address \(own[own.count - 1].description), link \(own[0].description)")
    return network
  }
}

/// The number an option says, if it is there.
func option(_ name: String) -> Int? {
  let words = Arguments.all
  guard let at = words.firstIndex(of: name), at + 1 < words.count else { return nil }
  return Int(words[at + 1])
}
