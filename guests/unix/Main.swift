import LibOS

/// Guests of the library operating system's interprocess communication and processes, told apart by the name they are started
/// under.
@main enum UnixGuests {
  static func main() {
    switch Arguments.name {
    case "pipes": pipes()
    default:
      print("\(Arguments.name): not one of this image's guests: pipes")
      exit(127)
    }
  }
}
