import LibOS

/// Greets, and prints the arguments it was given, one a line.
@main enum Hello {
  static func main() {
    print("Hello from an environment of its own.")
    for argument in Arguments.all.dropFirst() { print(argument) }
  }
}
