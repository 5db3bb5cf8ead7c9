import ArgumentParser
import Exo
import ExoGuests

struct Launch: AsyncParsableCommand {
  @Argument(parsing: .captureForPassthrough) var guest: [String] = []
  func run() async throws {
    guard let name = guest.first else { throw ExitCode(125) }
    let target = name == "hello" ? "GuestHello" : "GuestBasics"
    guard let bytes = ExoGuests.image(target) else { throw ExitCode(127) }
    let machine = try Machine()
    let environment = try machine.launch(
      try GuestImage(name: name, bytes: bytes), arguments: guest, console: .standard, timeLimit: .seconds(10))
    let outcome = await environment.outcome()
    machine.stop()
    if case .exited(let status) = outcome { throw ExitCode(Int32(status)) }
    print(outcome, environment.usage)
    throw ExitCode(1)
  }
}
