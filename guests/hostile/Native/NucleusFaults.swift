import ExoABI
import GuestRuntime
import HostileSupport
import LibOS

/// What makes an instruction of the nucleus fault ends whoever did it, by name, whatever it has bound, at home and while it serves
/// a call: its caller, its parent and the witness go on.
extension Attack {
  static var nucleusFaults: Attack {
    Attack("nucleus-faults", "Makes the nucleus fault, with and without handlers, at home and within a call.")
    {
      catchExceptions()
      for which in 0..<UInt64(HOSTILE_NUCLEUS_CASES) {
        // A child that has text and a stack, and nothing bound.
        let end = Child.run(HOSTILE_NUCLEUS, which)
        expect(
          end.how == Int64(EXO_ENDED_FAULTED) && [8, 11, 12, 13, 14].contains(end.value),
          "case \(which): \(end.text)"
        )
        for (index, body) in bodies.enumerated() { withHandlers(body, index, which) }
        var pair = mounted(argument: which, server: faultingServer, client: callingClient)
        expectEnd(&pair.client, 0, "the caller of who makes the nucleus fault in case \(which)")
        guard let end = try? pair.server.watch.wait(), case .faulted = end else {
          succeeded("case \(which) within a call: the server did not end by its fault")
        }
        pair.discard()
      }
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
    }
  }

  /// Handlers of its own that are direct gates; and page faults by the nucleus's stub, which brings a fault of the nucleus's to the
  /// handler too: at ring 3, from where no return leads back into ring 0.
  private static let bodies: [LibOS.Child.Body] = [
    { which in
      guard bind([.invalidOpcode, .generalProtection, .stackFault, .segmentNotPresent, .breakpoint]) else {
        return 1
      }
      hostile_fault_nucleus(Startup.page, which)
      return 2
    },
    { which in
      guard bind([.generalProtection, .stackFault]),
        (try? Exceptions.bind(.pageFault, withAddress: false, { _ in Exocall.exit(43) })) != nil
      else { return 1 }
      hostile_fault_nucleus(Startup.page, which)
      return 2
    },
    { which in
      guard bind([.generalProtection, .stackFault]),
        (try? Exceptions.bind(
          .pageFault,
          { frame in
            // Goes back to where the frame says.
            if frame.cs & 3 == 3 { Exocall.exit(43) }
          })) != nil
      else { return 1 }
      hostile_fault_nucleus(Startup.page, which)
      return 2
    },
  ]

  private static func bind(_ vectors: [LibOS.ExceptionVector]) -> Bool {
    for vector in vectors {
      guard (try? Exceptions.bind(vector, { _ in Exocall.exit(42) })) != nil else { return false }
    }
    return true
  }

  private static func withHandlers(_ body: LibOS.Child.Body, _ index: Int, _ which: UInt64) {
    do throws(ExocallError) {
      var child = try LibOS.Child.make(EnvironmentQuota(frames: 96, bindings: 32), argument: which, body)
      try child.start()
      switch try child.wait() {
      case .faulted(let vector, _):
        expect([8, 11, 12, 13, 14].contains(vector), "case \(which), handlers \(index): vector \(vector)")
      // Its own handler found that it could not go back, or that the fault was its own.
      case .exited(42), .exited(43): break
      case let end: succeeded("case \(which), handlers \(index): \(end)")
      }
    } catch { unable("a child: \(error)") }
  }
}

private func faultingServer(_ which: UInt64) -> Int32 {
  guard let gate = try? Gate.create(), (try? Pair.offer(gate)) != nil else { return 1 }
  Gate.serve { _ in hostile_fault_nucleus(Startup.page, which) }
  return 0
}

private func callingClient(_ which: UInt64) -> Int32 {
  guard let connection = try? Pair.connect() else { return 1 }
  var message = Message()
  do throws(ExocallError) { try connection.call(&message) } catch {
    guard error == .closedPipe else { return 2 }
    // It goes on, with its ring and its stack, and the way is closed.
    guard exocall(EXO_CALL_null) == 0 else { return 3 }
    do throws(ExocallError) { try connection.call(&message) } catch { return 0 }
    return 5
  }
  return 4
}
