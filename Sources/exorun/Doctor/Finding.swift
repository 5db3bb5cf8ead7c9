import JSONText

/// One thing `exorun doctor` looked at.
struct Finding {
  enum State: String {
    case ok, degraded, missing
  }
  let name: String
  let state: State
  let detail: String
  /// What to do about it, if there is something.
  let advice: String?
  /// Whether guests cannot run unless it is there.
  let isRequired: Bool
  /// What was measured, for programs: names say the unit.
  let figures: [(name: String, value: Double)]

  init(
    _ name: String, _ state: State, _ detail: String, advice: String? = nil, isRequired: Bool = false,
    figures: [(name: String, value: Double)] = []
  ) {
    self.name = name
    self.state = state
    self.detail = detail
    self.advice = advice
    self.isRequired = isRequired
    self.figures = figures
  }

  /// Whether it keeps guests from running.
  var isFatal: Bool { isRequired && state == .missing }

  /// Without a line break at the end.
  func text(_ style: TextStyle) -> String {
    let mark = state.rawValue.padded(to: 10)
    let coloured =
      switch state {
      case .ok: style.green(mark)
      case .degraded: style.yellow(mark)
      case .missing: style.red(mark)
      }
    let margin = String(repeating: " ", count: 10)
    return coloured + style.bold(name.padded(to: 28)) + detail + (advice.map { "\n\(margin)-> \($0)" } ?? "")
  }

  var json: JSON {
    .members([
      ("name", .string(name)), ("state", .string(state.rawValue)), ("detail", .string(detail)),
      ("advice", .optional(advice)), ("required", .bool(isRequired)),
      ("figures", .members(figures.map { ($0.name, .number(($0.value * 1000).rounded() / 1000)) })),
    ])
  }
}
