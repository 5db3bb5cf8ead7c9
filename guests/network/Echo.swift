import ExosNetwork
import LibOS

/// `echo [PORT] [--count N] [--ash | --tasks]`: sends every datagram back, and answers pings; until N have come, or for ever. With
/// `--ash` a handler in the exokernel answers what it can; with `--tasks` Swift's tasks do.
func echo() throws(NetworkError) {
  let port = Arguments.count > 1 ? UInt16(Arguments.all[1]) ?? 7 : 7
  let network = try NetworkGuests.start()
  if Arguments.all.contains("--tasks") {
    try echoByTasks(network, port: port)
    exit(0)
  }
  let socket = try UDPSocket(network.stack, port: port)
  if Arguments.all.contains("--ash") { try network.echoByHandler(port: port) }
  print("ready at port \(port)")
  let count = option("--count") ?? .max
  var done = 0
  while done < count {
    guard let datagram = network.receive(socket, until: .max) else { continue }
    // Whoever asked may have gone meanwhile.
    try? network.send(datagram.payload, from: socket, to: datagram.from)
    done += 1
  }
  print("\(done) echoed")
  exit(0)
}
