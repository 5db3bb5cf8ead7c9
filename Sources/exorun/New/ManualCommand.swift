import ArgumentParser
import JSONText

/// `exorun manual FOLDER`: writes the man pages. For whoever installs exorun, so `--help` does not list it.
struct ManualCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "manual", abstract: "Write the man pages into a folder.", shouldDisplay: false)

  @Argument(help: ArgumentHelp("Where to; it must be there.", valueName: "folder"), completion: .directory)
  var folder: String

  func run() throws {
    for page in try ManualPage.all() {
      do throws(HostFileError) {
        let path = "\(folder)/\(page.name).1"
        try HostFile(writing: path).write(page.text)
      } catch {
        throw Failure(.usage, "\(folder)/\(page.name).1: \(error)")
      }
    }
  }
}
