import ArgumentParser
import Glibc

/// `exorun new`: a package for a guest of one's own.
struct NewCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "new", abstract: "Make a package for a guest of your own.",
    discussion: """
      Makes the folder NAME here, with a package that depends on Exo and a guest that says hello. Without --path and \
      --url it takes Exo from where this exorun came from.
      """)

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Take Exo from a checkout on this machine.", valueName: "folder"),
    completion: .directory)
  var path: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Take Exo from a repository, this version or a later one.", valueName: "url"))
  var url: String?

  @Flag(name: .customLong("c"), help: "The guest is written in C.")
  var isC = false

  @Argument(help: ArgumentHelp("What the package, its folder and the guest are called.", valueName: "name"))
  var name: String

  func run() throws {
    let name = try PackageName(self.name)
    let source: PackageSource
    switch (path, url) {
    case (.some, .some): throw Failure(.usage, "--path and --url: one of them")
    case (let path?, nil): source = try PackageSource(path: path)
    case (nil, let url?): source = try PackageSource(url: url)
    case (nil, nil): source = try PackageSource(near: HostFolder.absolute("/proc/self/exe") ?? "")
    }
    guard name.text.lowercased() != source.identity.lowercased() else {
      throw Failure(.usage, "`\(name.text)` is what Exo's own package is called there: choose another name")
    }
    try PackageTemplate(name: name, source: source, isC: isC).write(to: name.text)
    StandardStreams.write(
      """
      Made \(name.text). To build and run it:

        cd \(name.text)
        swift build -c release
        exorun launch .build/release/\(name.text)

      """)
  }
}
