import ArgumentParser
import ExoSelftest
import Glibc
import JSONText

/// `exorun guests`: what can be launched by name.
struct Guests: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "List the built-in guests.")

  @Flag(help: "As JSON.")
  var json = false

  func run() throws {
    let guests = GuestCatalogue.all
    if json {
      let rows = guests.map {
        JSON.members([
          ("name", .string($0.name)), ("summary", .string($0.summary)), ("image", .string($0.target)),
        ])
      }
      StandardStreams.write(JSON.array(rows).text() + "\n")
      return
    }
    let width = guests.map(\.name.count).max() ?? 0
    let style = TextStyle.of(STDOUT_FILENO)
    StandardStreams.write(
      guests.map { "\(style.bold($0.name.padded(to: width)))  \($0.summary)\n" }.joined())
  }
}
