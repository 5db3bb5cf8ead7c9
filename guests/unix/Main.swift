import LibOS

/// Guests of the library operating system's interprocess communication and processes, told apart by the name they are started
/// under.
@main enum UnixGuests {
  static func main() {
    switch Arguments.name {
    case "pipes": pipes()
    case "ports": ports()
    case "calls": calls()
    case "processes": processes()
    case "ipc-soak": ipcSoak()
    case "part": processPart()
    case "true": break
    case "sh": shell()
    default:
      print(
        "\(Arguments.name): not one of this image's guests: pipes, ports, calls, processes, ipc-soak, part, true, sh"
      )
      exit(127)
    }
  }
}
