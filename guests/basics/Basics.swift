import LibOS

/// Several small guests in one image, told apart by the name they are started under.
@main enum Basics {
  static func main() {
    print("\(Arguments.name): not one of this image's guests")
    exit(127)
  }
}
