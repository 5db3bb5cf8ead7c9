import Exo
import ExoSelftest

/// Every mechanism that Exo relies on, tried by guests that depend on it: what `exorun doctor --deep` adds. For machines that nobody
/// has tried, above all those with VT-x (CAVEATS.md).
struct Mechanism {
  let name: String
  /// What is tried, in the order of the table of trials: a guest, or one attack.
  let guests: [String]
  let attacks: [String]
  /// Whether guests that do not trust one another must not share a machine where this fails.
  let isSafety: Bool
  /// What Exo does where it fails.
  let instead: String

  init(
    _ name: String, _ guests: [String] = [], attacks: [String] = [], isSafety: Bool = false, instead: String
  ) {
    self.name = name
    self.guests = guests
    self.attacks = attacks
    self.isSafety = isSafety
    self.instead = instead
  }

  static let all: [Mechanism] = [
    Mechanism(
      "entry at ring 3", ["hello", "cat"], instead: "nothing: no guest can run"),
    Mechanism(
      "faults reported", ["crash"], instead: "nothing: a guest still ends, its report may be wrong"),
    Mechanism(
      "direct gates", ["faults"], attacks: ["exception-stacks", "exception-handlers", "pinned-stack"],
      instead: "nothing: an exception with no gate that works ends its environment"),
    Mechanism(
      "events injected", ["events"], attacks: ["events"],
      instead: "nothing; environments that poll their event ring need no injection"),
    Mechanism(
      "ring 0 kept shut",
      attacks: [
        "nucleus", "privileged", "interrupts", "compatibility", "segments", "model-registers",
        "interrupt-controller",
      ],
      isSafety: true, instead: "nothing"),
    Mechanism(
      "SYSCALL",
      attacks: [
        "system-calls", "system-call-handler", "nucleus-calls", "odd-entries", "nucleus-faults", "last-page",
        "protection-race",
      ], isSafety: true,
      instead: "nothing; exocalls go through rings, which do not need it"),
    Mechanism(
      "mappings taken away", ["family", "expose"],
      attacks: ["freed-frames", "revoked-frames", "granted-less", "table-window"], isSafety: true,
      instead: "nothing"),
    Mechanism(
      "huge pages", attacks: ["huge-pages"], isSafety: true,
      instead: "nothing by itself; environments that map small pages alone do not need them"),
    Mechanism(
      "page faults handled", ["vm", "applications"],
      instead: "nothing; guests that page nothing themselves do not need it"),
    Mechanism(
      "virtual processors reused", attacks: ["dirty-processor", "doorbell", "bases"], isSafety: true,
      instead:
        "nothing: a used one is given to the next environment only after it was cleared, or it is closed"),
    Mechanism(
      "protection keys", ["keys"], attacks: ["keys", "keys-left", "keys-sent"], isSafety: true,
      instead:
        "nothing. Where a machine has no keys they are refused, which passes; exocalls protect pages as well"),
    Mechanism(
      "control transfer", ["transfer"], attacks: ["gates", "stray-returns", "call-races"],
      instead: "nothing; environments on two processors call each other by shared lines"),
    Mechanism(
      "slices and preemption", ["schedulers", "threads"], attacks: ["hog", "deaf"],
      instead: "nothing: one environment may keep a processor"),
    Mechanism("revocation", ["pressure"], attacks: ["keeps"], instead: "nothing: environments can be ended"),
  ]

  /// Runs what tries it.
  func finding(_ configuration: Machine.Configuration, isEmulated: Bool) -> Finding {
    var problems: [String] = []
    var count = 0
    for guest in GuestCatalogue.all {
      let trials =
        guests.contains(guest.name)
        ? guest.trials
        : guest.name == "hostile" ? guest.trials.filter { attacks.contains($0.arguments.first ?? "") } : []
      for trial in trials {
        let result = guest.run(trial, configuration, isEmulated: isEmulated)
        count += 1
        if !result.hasPassed {
          let command = ([guest.name] + trial.arguments).joined(separator: " ")
          problems.append("\(command): \(result.problems.joined(separator: ", "))")
        }
      }
    }
    if problems.isEmpty { return Finding(name, .ok, "pass: \(count) of \(count)") }
    let warning =
      isSafety ? ". Do not let guests that do not trust one another share a machine here" : ""
    return Finding(
      name, .missing, "fail: \(problems.joined(separator: "; "))", advice: "instead: \(instead)\(warning)")
  }
}
