import ExosConcurrency
import ExosNetwork
import ExosThreads
import LibOS
import _Concurrency

nonisolated(unsafe) private var left = 0

/// `echo [PORT] --tasks [--count N]`: the same by two tasks, one at the port and one at the port after it.
func echoByTasks(_ interface: NetworkInterface, port: UInt16) throws(NetworkError) {
  left = option("--count") ?? .max
  let wanted = left
  do throws(ThreadError) {
    do throws(ExocallError) { try Threads.begin(quantum: 1_000_000) } catch { throw .outOfMemory }
    let network = try AsyncNetwork(interface)
    try Tasks.run {
      await withTaskGroup(of: Void.self) { group in
        for own in [port, port &+ 1] {
          group.addTask { await serve(network, own) }
        }
      }
    }
  } catch {
    print("tasks: \(error == .deadlock ? "deadlock" : "no memory")")
    exit(1)
  }
  print("\(wanted - left) echoed")
}

private func serve(_ network: AsyncNetwork, _ port: UInt16) async {
  guard let socket = try? network.socket(port: port) else { return }
  print("ready at port \(port)")
  while left > 0 {
    // Looks up now and then, for the other may have been the last.
    guard let datagram = await socket.receive(until: left == .max ? .max : Clock.now + 50_000_000) else {
      continue
    }
    if left < .max { left -= 1 }
    // Whoever asked may have gone meanwhile.
    try? socket.send(datagram.payload, to: datagram.from)
  }
}
