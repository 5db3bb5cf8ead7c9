import Exo

extension Trial {
  /// Every attack of the hostile guest and the end it must come to. Most attacks catch what is done to them, and exit with
  /// 0 if they were refused in every way; the others are ended by the exokernel.
  static let hostile: [Trial] =
    refused.map { attack($0) }
    + [
      // Memory.
      attack("nucleus-store", .faulted(ExceptionVector(14))),
      attack("table-window", input: "\u{7}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}"),
      // Processor.
      attack("halt", .faulted(ExceptionVector(13))),
      attack("doorbell-load", .misused),
      // Exceptions. Where a processor is left for the service thread, gates change while the environment runs.
      attack("protection-race", processors: 1),
      attack("rebinding", processors: 1),
      attack("rebinding"),
      attack("handler-unmapped", .timeLimit, timeLimit: .milliseconds(200)),
      attack("nested-faults", .timeLimit, timeLimit: .milliseconds(200)),
      // Rings. The service thread reads them while the environment runs, or its own processor at an exit.
      attack("ring-protocol"),
      attack("ring-protocol", processors: 1),
      attack("ring-jump", .misused),
      attack("ring-jump", .misused, processors: 1),
      attack("ring-race", processors: 1),
      attack("garbage"),
      attack("garbage", processors: 1),
      attack("late-buffer", input: "what was asked for and is not wanted any more"),
      attack("late-buffer", processors: 1, input: "what was asked for and is not wanted any more"),
      attack("wait-for-ever", .timeLimit, timeLimit: .milliseconds(100)),
      attack("exit-pending", processors: 1),
      attack("exit-twice", processors: 1),
      // Control transfer, where all are on one processor.
      attack("stray-returns", processors: 1), attack("odd-leaves", processors: 1),
      // Packets. Where the service thread sends, and where the environment's own processor does.
      onNetwork("packet-claims"), onNetwork("packet-sources"), onNetwork("packet-rings"),
      onNetwork("packet-rings", processors: 1), onNetwork("packet-handlers"), onNetwork("packet-regions"),
      onNetwork("packet-hoard"),
      attack("cycles", processors: 1),
      attack("pipe-lies", processors: 1), attack("closed-ends", processors: 1),
      attack("silent-callee", processors: 1),
      attack("call-storm", processors: 1),
      attack("yield-cycle", processors: 1),
      // Quotas.
      attack("forest", limit: 32 << 20),
      shared("hog"),
      shared("all-slices"),
      // Masks that are never cleared, ends of slices that are ignored.
      shared("deaf"),
      shared("deaf-to-slice-ends"),
    ]

  /// Those that run on two processors beside a witness and nothing else is to be said of.
  private static let refused = [
    "nucleus", "kit", "foreign-frames", "freed-frames", "leftovers", "used-spaces", "revoked-frames",
    "granted-less",
    "addresses",
    "page-vectors", "huge-pages",
    "privileged", "ports", "flags", "segments", "compatibility", "interrupts", "system-calls", "bases",
    "doorbell",
    "dirty-processor", "system-call-handler", "nucleus-calls", "keys", "keys-left", "keys-sent",
    "model-registers", "interrupt-controller", "odd-entries", "nucleus-faults", "last-page",
    "protection-race",
    "exception-stacks", "exception-handlers", "small-stack", "pinned-stack", "stub-fault", "guarantees",
    "events", "slices", "predicates", "doorbell-storm", "exception-storm", "event-storm", "call-storm",
    "yield-cycle", "keeps",
    "gates", "stray-returns", "odd-leaves", "cycles", "call-races", "dead-gates", "visits",
    "pipe-lies", "changing-messages", "forged-rights", "forged-names", "closed-ends", "silent-callee",
    "forged-handles",
    "stale-handles", "foreign-handles", "wrong-kinds", "more-rights",
    "environments",
    "regions",
    "buffers", "exit-pending", "exit-twice",
    "all-frames", "all-capabilities", "all-bindings", "all-environments", "sparse-maps", "many-mappings",
    "hoard",
    "orphans",
  ]

  private static func attack(
    _ name: String, _ ending: Ending = .exited(0), processors: Int = 2, limit: UInt64 = 16 << 20,
    timeLimit: Duration = .seconds(120), input: String = ""
  ) -> Trial {
    var trial = Trial(arguments: [name], input: .text(input), timeLimit: timeLimit, ending: ending)
    trial.processors = processors
    trial.memoryLimit = limit
    trial.hasWitness = true
    return trial
  }

  private static func onNetwork(_ name: String, processors: Int = 2) -> Trial {
    var trial = attack(name, processors: processors)
    trial.isOnNetwork = true
    return trial
  }

  /// One that never lets go of its only processor.
  private static func shared(_ name: String) -> Trial {
    var trial = attack(name, .killed, processors: 1, timeLimit: .seconds(5))
    trial.mustShare = true
    return trial
  }
}
