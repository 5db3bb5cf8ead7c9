import LibOS

/// ExOS at work: virtual memory, threads and schedulers that are nothing but a library, each with a check of its result;
/// told apart by the name they are started under.
@main enum ExosGuests {
  static func main() {
    // The image may be named by its path too.
    let name = Arguments.name.split(separator: "/").last.map(String.init) ?? ""
    switch name {
    case "vm": virtualMemory()
    case "threads": threads()
    case "applications": applications()
    case "keys": protectionKeys()
    case "schedulers": schedulers()
    default:
      print("\(name): not one of this image's guests: vm, keys, applications, threads, schedulers")
      exit(127)
    }
  }
}
