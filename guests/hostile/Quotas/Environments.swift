import ExoABI
import HostileSupport
import LibOS

/// Environments by the hundred. Each has tables, a kit and perhaps a virtual processor; all that must come out of the quota
/// of whoever made it, and be there again when it has ended.
extension Attack {
  static var allEnvironments: Attack {
    Attack("all-environments", "Creates environments until it is refused, twice.") {
      for _ in 0..<2 {
        // Those of the last round end on their processors.
        let limit = milliseconds() + 20_000
        var first = exocall(EXO_CALL_environment_create, 32, 4, 0, 0)
        while first < 0, milliseconds() < limit { first = exocall(EXO_CALL_environment_create, 32, 4, 0, 0) }
        var children = [UInt64(max(first, 0))]
        while children.count < 4096 {
          let result = exocall(EXO_CALL_environment_create, 32, 4, 0, 0)
          if result < 0 {
            expectRefused(result, EXO_EDQUOT, EXO_ENOMEM, for: "environment \(children.count)")
            break
          }
          children.append(UInt64(result))
        }
        expect(children.count < 2048, "environments without end")
        expect(children.count > 8, "only \(children.count) environments")
        for child in children { exocall(EXO_CALL_capability_drop, child) }
        let end = milliseconds() + 20_000
        var again: Int64 = -1
        while again < 0 {
          again = exocall(EXO_CALL_environment_create, UInt64(children.count) * 32, 4, 0, 0)
          if milliseconds() > end { succeeded("what \(children.count) environments used is lost: \(again)") }
        }
        exocall(EXO_CALL_capability_drop, UInt64(again))
      }
    }
  }

  /// Environments that make environments that make environments, and the first ends: so do all.
  static var forest: Attack {
    Attack("forest", "Plants a tree of environments three deep and ends, leaving them running.") {
      guard ChildText.parts.count == 1 else { unable("the text is in pieces") }
      let mailbox = Mailbox()
      let text = ChildText.parts[0]
      mailbox[0] = 3
      mailbox[1] = text.address
      mailbox[2] = text.pages.count
      let all = Allow.write | UInt64(EXO_RIGHT_GRANT)
      let trees = 2
      for _ in 0..<trees {
        let child = exocall(EXO_CALL_environment_create, 2000, 1500, 0, 40)
        guard child > 0 else { unable("no child: \(child)") }
        let stack = Pages(1)
        // In this order: the child knows its capabilities by their number.
        exocall(
          EXO_CALL_capability_grant, text.pages.capability, UInt64(child), 0, 0,
          Allow.code | UInt64(EXO_RIGHT_GRANT))
        exocall(EXO_CALL_capability_grant, mailbox.pages.capability, UInt64(child), 0, 0, all)
        exocall(
          EXO_CALL_environment_map, UInt64(child), text.pages.capability, text.address,
          text.pages.count << 32, Allow.code)
        exocall(
          EXO_CALL_environment_map, UInt64(child), mailbox.pages.capability, mailbox.address, 1 << 32,
          Allow.write)
        exocall(
          EXO_CALL_environment_map, UInt64(child), stack.capability, Place.childStack - 4096, 1 << 32,
          Allow.write)
        let started = exocall(
          EXO_CALL_environment_start, UInt64(child), hostile_entry(HOSTILE_FOREST.rawValue),
          Place.childStack - 8,
          mailbox.address | 3)
        if started != 0 { unable("starting: \(started)") }
      }
      // 1 + 3 + 9 + 27 each.
      let end = milliseconds() + patience
      while mailbox[3] < UInt64(trees) * 40 {
        if milliseconds() > end { unable("\(mailbox[3]) came to life, \(mailbox[4]) were refused") }
      }
      expect(mailbox[4] == 0, "\(mailbox[4]) were refused within their quota")
    }
  }

  /// Ends with children in every state.
  static var orphans: Attack {
    Attack("orphans", "Ends and leaves children created, running, asleep and stopped.") {
      var children: [Child] = []
      for _ in 0..<3 {
        for program in [HOSTILE_SPIN, HOSTILE_SLEEP, HOSTILE_SPIN] {
          var child = Child()
          child.start(program)
          children.append(child)
        }
        exocall(EXO_CALL_environment_stop, children[children.count - 1].handle)
        children.append(Child())
      }
    }
  }

  /// Never leaves its processor by itself. Others on it have their turns all the same.
  static var hog: Attack {
    Attack("hog", "Spins without a pause on the processor it shares: the time limit ends it.") {
      while true { hostile_pause() }
    }
  }
}
