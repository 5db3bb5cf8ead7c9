import ExosNetwork
import LibOS

/// `ping HOST [--count N] [--size BYTES]`: echoes of a host by its address or name.
func ping() throws(NetworkError) {
  guard Arguments.count > 1 else {
    print("ping HOST [--count N] [--size BYTES]")
    exit(2)
  }
  let name = Arguments.all[1]
  let network = try NetworkGuests.start()
  let address: IPAddress
  if let known = IPAddress(name) {
    address = known
  } else {
    let found = try network.resolve(name, until: Clock.now + NetworkGuests.patience)
    address = found[0]
    print("\(name) is \(address.description)")
  }
  let count = option("--count") ?? 3
  let size = min(max(option("--size") ?? 56, 0), 60_000)
  var answered = 0
  for sequence in 0..<max(count, 0) {
    let deadline = Clock.now + 3_000_000_000
    if let time = try network.ping(
      address, identifier: 0x4558, sequence: UInt16(truncatingIfNeeded: sequence), bytes: size,
      until: deadline)
    {
      answered += 1
      print("\(size) bytes from \(address.description): \(time / 1000) us")
    } else {
      print("no answer from \(address.description)")
    }
  }
  print("\(answered) of \(count) answered")
  exit(answered == count ? 0 : 1)
}
