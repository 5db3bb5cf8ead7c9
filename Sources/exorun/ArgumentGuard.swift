/// Keeps exorun's hands off what belongs to a guest.
enum ArgumentGuard {
  /// `launch` options that take a value in the word after them.
  static let valued: Set<String> = [
    "--memory", "--time-limit", "--env", "--report", "--report-format", "--log-level", "--device",
    "--substrate", "--net", "--publish",
  ]

  /// Puts `--` before the guest, so that the parser takes no later word for one of its own (it looks for
  /// `--generate-completion-script` everywhere).
  static func separateGuest(_ arguments: [String]) -> [String] {
    guard arguments.first == "launch" else { return arguments }
    var index = 1
    while index < arguments.count {
      let word = arguments[index]
      if word == "--" || word == "-" { return arguments }
      guard word.hasPrefix("-") else { break }
      index += valued.contains(word) ? 2 : 1
    }
    guard index < arguments.count else { return arguments }
    return arguments[..<index] + ["--"] + arguments[index...]
  }
}
