import BenchKit
import BenchLinux
import Exo
import ExoGuests

/// How many instructions paths take, where the time-stamp counter counts instructions: in an emulator told to
/// (`Scripts/amdv-count`). The figures are exact and the same at every run as long as nothing but the guest runs.
struct InstructionCounts {
  /// One path: how often the counter ticked at each of eight runs.
  private typealias Path = (name: String, ticks: [UInt32])

  /// Instructions between the two readings of the clock when nothing is between them.
  private var nothing = 0.0
  private var ticksPerInstruction = 0.0
  private var exo: [String: [UInt32]] = [:]
  private var linux: [String: [UInt32]] = [:]
  /// How often an operation leaves guest mode.
  private var exits: [(name: String, exits: UInt64)] = []

  init(_ configuration: Machine.Configuration) throws(Failure) {
    guard let bytes = ExoGuests.image("GuestBench"),
      let image = try? GuestImage(name: "count", bytes: bytes)
    else { throw Failure(.usage, "the benchmark's guest was not built in") }
    exits = try ExitCounts.measure(configuration, image)
    for path in try Self.guestPaths(configuration, image) { exo[path.name] = path.ticks }
    for path in Self.linuxPaths() { linux[path.name] = path.ticks }
    guard let empty = exo["nothing"], let nops = exo["nops256"], let least = empty.min(),
      let most = nops.max()
    else { throw Failure(.usage, "the guest did not count") }
    nothing = Double(least)
    ticksPerInstruction = (Double(most) - Double(least)) / 256
    // A clock that tells the time is never that even.
    guard Set(empty).count == 1, Set(nops).count == 1, ticksPerInstruction.rounded() == ticksPerInstruction,
      ticksPerInstruction > 0
    else {
      throw Failure(
        .usage, "the clock here does not count instructions: `Scripts/amdv-count` makes a machine whose does")
    }
  }

  /// A path of more instructions than this has a kernel in it, whose version and cares they depend on.
  private static let longestInGuest = 1000

  /// Instructions beyond reading the clock; the middle one of all runs, and whether they are the same and always will be.
  private func count(_ ticks: [UInt32]?) -> (value: Int, isExact: Bool)? {
    guard let ticks, !ticks.isEmpty else { return nil }
    let sorted = ticks.sorted()
    let value = (Double(sorted[sorted.count / 2]) - nothing) / ticksPerInstruction
    return (Int(value), sorted.first == sorted.last && Int(value) < Self.longestInGuest)
  }

  /// A line for each path: name, instructions, and `exact` if nothing but the guest runs on it.
  func text() -> String {
    var lines: [String] = []
    func add(_ side: String, _ paths: [String: [UInt32]]) {
      for name in paths.keys.sorted() where name != "nothing" && name != "nops256" {
        guard let count = count(paths[name]) else { continue }
        lines.append("\(side) \(name) \(count.value)\(count.isExact ? " exact" : "")")
      }
    }
    add("exo", exo)
    for path in exits { lines.append("exo exits_\(path.name) \(path.exits) exact") }
    add("linux", linux)
    return lines.joined(separator: "\n") + "\n"
  }

  /// What the guest says of itself.
  private static func guestPaths(
    _ configuration: Machine.Configuration, _ image: GuestImage
  ) throws(Failure) -> [Path] {
    let machine: Machine
    do throws(MachineError) { machine = try Machine(configuration) } catch {
      throw Failure(.usage, "\(error)")
    }
    defer { machine.stop() }
    do throws(SampleError) {
      let session = try GuestSession(machine, image, arguments: ["count"])
      var paths: [Path] = []
      while true {
        let words = try session.line().split(separator: " ").map(String.init)
        guard let name = words.first, name != "end" else { return paths }
        let ticks = words.dropFirst().compactMap { UInt32($0) }
        if !ticks.isEmpty { paths.append((name, ticks)) }
      }
    } catch { throw Failure(.usage, "counting in the guest: \(error)") }
  }

  private static func linuxPaths() -> [Path] {
    var paths: [Path] = []
    var index: Int32 = 0
    while true {
      var ticks = [UInt32](repeating: 0, count: 8)
      var name: UnsafePointer<CChar>?
      // Eight ticks, as many as it writes; the name is a literal of its own.
      let result = unsafe bench_linux_count(index, &name, &ticks)
      guard result != 0 else { return paths }
      if result > 0, let name = unsafe name { paths.append((unsafe String(cString: name), ticks)) }
      index += 1
    }
  }
}
