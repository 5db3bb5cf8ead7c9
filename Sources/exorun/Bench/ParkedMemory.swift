import BenchKit
import Exo
import Glibc
import Synchronization

/// What an environment that does nothing costs the host beyond the frames it was given: a thousand of them at once, each
/// waiting for input that does not come.
enum ParkedMemory {
  static let crowd = 1000

  /// Bytes for each.
  static func sample(_ image: GuestImage) throws(SampleError) -> Double {
    var configuration = Machine.Configuration()
    configuration.memory = 1 << 30
    let machine: Machine
    do throws(MachineError) { machine = try Machine(configuration) } catch { throw .failed("\(error)") }
    defer { machine.stop() }
    let silence = try Pipe()
    let greetings = Greetings()
    // The first has the machine measured and its own things made.
    try park(1, in: machine, image, silence, greetings)
    let before = try memoryInUse()
    try park(crowd, in: machine, image, silence, greetings)
    return (try memoryInUse() - before) / Double(crowd)
  }

  /// Launches environments and waits until all have said that they run, and gone to sleep.
  private static func park(
    _ count: Int, in machine: Machine, _ image: GuestImage, _ silence: Pipe, _ greetings: Greetings
  ) throws(SampleError) {
    let wanted = greetings.count.load(ordering: .relaxed) + count
    for _ in 0..<count {
      do throws(LaunchError) {
        _ = try machine.launch(
          image, arguments: ["first", "wait"],
          console: Console(
            input: .descriptor(silence.readEnd),
            output: .handler { _ in greetings.count.add(1, ordering: .relaxed) }))
      } catch { throw .failed("\(error)") }
    }
    let end = monotonicNanoseconds() + 60e9
    while greetings.count.load(ordering: .relaxed) < wanted {
      guard monotonicNanoseconds() < end else { throw .failed("not all of the environments run") }
      usleep(1000)
    }
    usleep(100_000)
  }

  private final class Greetings: Sendable {
    let count = Atomic<Int>(0)
  }

  /// Memory that the host's kernel and this process use. What belongs to files is no part of it, and the machine's memory is a
  /// file; nor is what other processes have for themselves.
  private static func memoryInUse() throws(SampleError) -> Double {
    func sizes(_ path: String) -> [Substring: Double] {
      let lines = (HostFile.text(path) ?? "").split(separator: "\n")
      return [Substring: Double](
        lines.compactMap { line in
          let words = line.split { " \t:".contains($0) }
          guard words.count == 3, words[2] == "kB", let kibibytes = Double(words[1]) else { return nil }
          return (words[0], kibibytes * 1024)
        }, uniquingKeysWith: { first, _ in first })
    }
    let host = sizes("/proc/meminfo")
    guard let own = sizes("/proc/self/status")["RssAnon"], let total = host["MemTotal"] else {
      throw .unavailable("this kernel does not say what memory is used for")
    }
    let notOurs = ["MemFree", "Buffers", "Cached", "SReclaimable", "AnonPages"].compactMap { host[$0] }
    return notOurs.reduce(total, -) + own
  }
}
