import ArgumentParser

@main struct Exorun: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "exorun", abstract: "Run guests on the Exo exokernel.", subcommands: [Launch.self, Bench.self])
}
