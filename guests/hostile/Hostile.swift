import LibOS

/// Attacks on the exokernel and on other environments, one to a file or family, and the witness that must not notice.
///
/// An attack that was refused in every way exits with 0, or comes to the end that its table says; 1 says that
/// something succeeded, 3 that the attack could not even be mounted.
@main enum Hostile {
  static func main() {
    let arguments = Arguments.all
    switch arguments.count > 1 ? arguments[1] : "" {
    case "--list":
      for attack in Attack.all { print("\(attack.name)  \(attack.summary)") }
    case "witness": witness()
    case let name:
      guard let attack = Attack.all.first(where: { $0.name == name }) else {
        print("hostile: --list, witness, or the name of an attack")
        exit(127)
      }
      attack.run()
    }
  }
}

struct Attack {
  let name: String
  let summary: String
  let run: () -> Void

  init(_ name: String, _ summary: String, run: @escaping () -> Void) {
    self.name = name
    self.summary = summary
    self.run = run
  }

  static var all: [Attack] {
    memory + processor + native + exceptions + events + transfer + peers
      + capabilities + rings + packets + quotas
  }
}
