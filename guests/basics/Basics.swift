import LibOS

/// Several small guests in one image, told apart by the name they are started under.
@main enum Basics {
  static func main() {
    switch Arguments.name {
    case "faults": faults()
    case "crash": crash()
    case "cat": cat()
    case "heap": heap()
    case "events": events()
    default:
      print("\(Arguments.name): not one of this image's guests: faults, crash, cat, heap, events")
      exit(127)
    }
  }
}
