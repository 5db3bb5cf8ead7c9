import ArgumentParser
import Exo
import Glibc
import JSONText

/// `exorun ps`: the environments of all machines, once.
struct Ps: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ps",
    abstract: "List the environments of running machines.",
    discussion: """
      One line for each environment of each machine that `exorun launch` or `exorun up` runs for this \
      user: the machine's name, the environment's number and name, its state, how long it has had the \
      processor, the frames it holds, and how often it got the processor.

      States: created (not started yet), running (has the processor), runnable (waits for it), sleeping \
      (waits for a completion or an event), stopped (by its creator), ended (its owner has not let go of \
      it yet).

      Machines are found by their control sockets, $XDG_RUNTIME_DIR/exo/ID.sock, or ~/.exo/ID.sock where \
      that is not set. A machine has one from 50 ms after its start. Sockets that nobody serves any more \
      are removed.

      EXAMPLES
        exorun ps                     what runs
        exorun ps --json | jq .       the same for programs

      EXIT STATUS
        0, also if nothing runs; 125 if the machine named does not run, or its folder
        cannot be used.
      """)

  @Option(help: ArgumentHelp("List this machine only.", valueName: "id"))
  var machine: String?

  @Flag(help: "As JSON: an array of machines, each as its control socket tells it (docs/control.md).")
  var json = false

  func run() throws {
    let connections = try machine.map { [try RunningMachines.one($0)] } ?? RunningMachines.all()
    var machines: [ObservedMachine] = []
    for connection in connections {
      do { machines.append(try ObservedMachine(from: connection)) } catch {
        // One that ends while it is asked is none that runs; with a name it was meant.
        if machine != nil || !connection.hasEnded { throw error }
      }
    }
    if json {
      let all = machines.map { machine -> JSON in
        guard case .object(let members) = machine.json else { return machine.json }
        return .object([JSON.Member("machine", .string(machine.name))] + members.filter { $0.name != "exo" })
      }
      StandardStreams.write(JSON.array(all).text() + "\n")
      return
    }
    let style = TextStyle.of(STDOUT_FILENO)
    var table = TextTable(
      ["MACHINE", "ENV", "NAME", "STATE", "TIME", "FRAMES", "SLICES"], right: [1, 4, 5, 6])
    for machine in machines {
      for environment in machine.environments {
        table.add([
          machine.name, "\(environment.number)", environment.name, environment.state,
          seconds(environment.count("processorTime")), "\(environment.count("frames"))",
          "\(environment.count("slices"))",
        ])
      }
    }
    StandardStreams.write(table.text(style))
  }
}

/// Nanoseconds as seconds, to a hundredth.
func seconds(_ nanoseconds: UInt64) -> String {
  let hundredths = nanoseconds / 10_000_000
  return "\(hundredths / 100).\(String(hundredths % 100).leftPadded(to: 2, with: "0"))s"
}

/// A table with columns as wide as they need to be.
struct TextTable {
  private let header: [String]
  private let right: Set<Int>
  private var rows: [[String]] = []

  /// - Parameter right: the columns that are numbers.
  init(_ header: [String], right: Set<Int>) {
    self.header = header
    self.right = right
  }
  mutating func add(_ row: [String]) { rows.append(row) }

  /// The lines, each cut at a width in characters if there is one.
  func lines(_ style: TextStyle, width: Int = .max) -> [String] {
    let widths = header.indices.map { column in ([header] + rows).map { $0[column].count }.max() ?? 0 }
    return ([header] + rows).enumerated().map { index, row in
      var cells = row.indices.map { column in
        right.contains(column)
          ? row[column].leftPadded(to: widths[column]) : row[column].padded(to: widths[column])
      }
      while cells.last?.hasSuffix(" ") == true { cells[cells.count - 1].removeLast() }
      let line = String(cells.joined(separator: "  ").prefix(width))
      return index == 0 ? style.bold(line) : line
    }
  }
  func text(_ style: TextStyle) -> String { lines(style).map { $0 + "\n" }.joined() }
}
