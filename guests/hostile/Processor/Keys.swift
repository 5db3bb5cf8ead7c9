import ExoABI
import ExosMemory
import GuestRuntime
import HostileSupport
import LibOS

/// Attacks with protection keys. PKRU belongs to the virtual processor and is written at ring 3, so it could go along wherever
/// that goes; and it binds ring 0 on pages of ring 3, so it could take the nucleus's own footing away.
extension Attack {
  private static var areOffered: Bool {
    Startup.page.pointee.features & UInt64(EXO_FEATURE_PROTECTION_KEYS) != 0
  }
  private static let readKeys = unsafeBitCast(
    hostile_read_keys as @convention(c) (UInt64) -> UInt64, to: (@convention(c) (UInt64) -> Void).self)
  /// Everything but key 0, and everything.
  private static var others: UInt64 { 0xffff_fffc }
  private static var everything: UInt64 { 0xffff_ffff }

  /// Keys for what has none; the instructions before there are any; ends by one's own hand.
  static var keys: Attack {
    Attack("keys", "Gives keys to what is not its own, and forbids itself its own stacks.") {
      catchExceptions()
      let page = Pages(1).map(at: Place.mailbox)
      expect(attempt(readKeys)?.vector == 6, "PKRU can be read before there are keys")
      expect(
        attempt(hostile_write_keys, everything)?.vector == 6, "PKRU can be written before there are keys")
      let mine: Int32 = areOffered ? 0 : EXO_EOPNOTSUPP
      for address in [
        exo_kit_start, exo_kit_trap, exo_kit_doorbell, exo_kit_lines, exo_kit_tables, exo_kit_submission,
        exo_nucleus_text, exo_nucleus_stacks, exo_nucleus_tables, 0, Place.mailbox + 1, 0x8000_0000_0000,
        .max,
      ] {
        expectRefused(exocall(EXO_CALL_key_set, address, 1, 1), EXO_EINVAL, for: "a key for \(address)")
      }
      for key: UInt64 in [16, 255, 1 << 32, .max] {
        expectRefused(exocall(EXO_CALL_key_set, Place.mailbox, 1, key), EXO_EINVAL, for: "key \(key)")
      }
      for pages: UInt64 in [0, 1 << 17, 1 << 36, .max] {
        expectRefused(
          exocall(EXO_CALL_key_set, Place.mailbox, pages, 1), EXO_EINVAL, for: "keys for \(pages) pages")
      }
      expectRefused(
        exocall(EXO_CALL_key_set, Place.mailbox, 2, 1), areOffered ? EXO_ENOENT : EXO_EOPNOTSUPP,
        for: "a key for a page that is not mapped")
      expect(PageTables.entry(of: Place.mailbox)?.key == 0, "a refused key is there in part")
      expect(exocall(EXO_CALL_key_set, Place.mailbox, 1, 5) == -Int64(mine), "a key for one's own page")
      guard areOffered else {
        expect(attempt(readKeys)?.vector == 6, "there is PKRU without keys")
        return expect(PageTables.entry(of: Place.mailbox)?.key == 0, "an entry has a key, and nobody any")
      }
      // An exocall reads and writes what it forbids: it is this environment's affair alone.
      hostile_write_keys(others)
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
      expectFault(hostile_load, at: Place.mailbox, "a page is readable under its key")
      expect(hostile_last_fault().pointee.error == 0x25, "error code \(hostile_last_fault().pointee.error)")
      hostile_write_keys(0)
      // The nucleus writes no key, whatever the entry says.
      let entry = PageTables.entry(of: Place.mailbox)?.bits ?? 0
      expect(
        exo_nucleus_protect(Place.mailbox, entry, entry ^ UInt64(1) << UInt64(EXO_PTE_KEY_SHIFT)) == 0,
        "the nucleus changes a key")
      expect(PageTables.entry(of: Place.mailbox)?.key == 5, "the key is another")
      for (index, body) in endings.enumerated() {
        for value in [everything, 1, 2] {
          let end = ended(index, value, body)
          // A page fault, or a double one where its own stack is forbidden too.
          guard case .faulted(let vector, _) = end, vector == 14 || vector == 8 else {
            succeeded("way \(index) with PKRU \(value): \(end)")
          }
        }
      }
      expect(exocall(EXO_CALL_null) == 0, "the ring is gone")
      exocall(EXO_CALL_unmap, Place.mailbox, 1)
      exocall(EXO_CALL_frame_free, page.capability)
    }
  }

  private static let endings: [LibOS.Child.Body] = [
    { value in
      hostile_write_keys(value)
      return 1
    },
    { value in
      guard bindsExceptions() else { return 1 }
      hostile_write_keys(value)
      return 1
    },
    { value in
      guard bindsExceptions() else { return 1 }
      hostile_keys_breakpoint(value)
      return 1
    },
    { value in
      guard (try? SystemCalls.bind(hostile_system_call_handler())) != nil else { return 1 }
      hostile_keys_system_call(value)
      return 1
    },
    { value in
      guard bindsExceptions() else { return 1 }
      guard (try? SystemCalls.bind(hostile_system_call_handler())) != nil else { return 1 }
      hostile_keys_system_call(value)
      return 1
    },
  ]

  private static func ended(
    _ index: Int, _ value: UInt64, _ body: LibOS.Child.Body
  ) -> EnvironmentEnd {
    do throws(ExocallError) {
      var child = try LibOS.Child.make(EnvironmentQuota(frames: 96, bindings: 32), argument: value, body)
      try child.start()
      let end = try child.watch.wait()
      child.release()
      return end
    } catch { unable("child \(index): \(error)") }
  }

  /// What the last one left in a virtual processor's PKRU. Children take turns on two processors.
  static var keysLeft: Attack {
    Attack("keys-left", "Leaves PKRU full for the next environment, however it ends.") {
      guard areOffered else { return }
      let page = Pages(1).map(at: Place.mailbox)
      expect(exocall(EXO_CALL_key_set, Place.mailbox, 1, 1) == 0, "a key is refused")
      for turn in 0..<12 {
        let spins = turn % 3 == 2
        for _ in 0..<2 {
          do throws(ExocallError) {
            var child = try LibOS.Child.make(
              EnvironmentQuota(frames: 96, bindings: 32), argument: others, spins ? spinsWithKeys : leavesKeys
            )
            try child.start()
            if spins {
              let end = milliseconds() + 5
              while milliseconds() < end {}
              try child.environment.end(status: 9)
            }
            let end = try child.watch.wait()
            expect(end == .exited(status: 0) || spins, "the one before: \(end)")
            child.release()
          } catch { unable("a child: \(error)") }
        }
        for _ in 0..<2 { expect(ended(turn, 0, findsKeys) == .exited(status: 0), "PKRU is another's") }
      }
      exocall(EXO_CALL_frame_free, page.capability)
    }
  }

  /// What a caller forbids his callee, and the callee his caller.
  static var keysSent: Attack {
    Attack("keys-sent", "Calls and returns with PKRU set, and forbids what a transfer itself needs.") {
      guard areOffered else { return }
      // One's own transfers, refused: with keys on, off and of every kind.
      expect(exocall(EXO_CALL_transfer_bind, hostile_keys_entry_address()) == 0, "binding is refused")
      let page = Pages(1).map(at: Place.mailbox)
      expect(exocall(EXO_CALL_key_set, Place.mailbox, 1, 1) == 0, "a key is refused")
      var numbers = Numbers(state: 11)
      for turn in 0..<2000 as Range<UInt64> {
        let keys = UInt32(truncatingIfNeeded: turn == 0 ? others : numbers.next()) & ~3
        let found = hostile_keys_transfer(numbers.next(), keys)
        expect(found == 0, "after a transfer PKRU is \(found)")
      }
      hostile_write_keys(0)
      exocall(EXO_CALL_frame_free, page.capability)
      // Each end sets what it likes; both use keys of their own.
      var pair = mounted(server: keyedServer, client: keyedClient)
      expectEnd(&pair.client, 0, "the client")
      pair.discard()
      // A callee that has forbidden itself everything, and faults or returns: the caller lives, and is told.
      for argument in 0..<3 as Range<UInt64> {
        var pair = mounted(argument: argument, server: fatalServer, client: survivingClient)
        expectEnd(&pair.client, 0, "the client of a server that ends in way \(argument)")
        guard let end = try? pair.server.watch.wait(), case .faulted(let vector, _) = end else {
          succeeded("the server did not end by its fault in way \(argument)")
        }
        expect([3, 8, 14].contains(vector), "the server: \(end)")
        pair.discard()
      }
    }
  }
}

// --- in the children

/// With stacks of its own, which it will forbid itself.
private func bindsExceptions() -> Bool {
  for vector in [.pageFault, .breakpoint, .generalProtection] as [LibOS.ExceptionVector] {
    guard (try? Exceptions.bind(vector, { _ in Exocall.exit(7) })) != nil else { return false }
  }
  return true
}

private func leavesKeys(_ value: UInt64) -> Int32 {
  hostile_write_keys(value)
  return 0
}
private func spinsWithKeys(_ value: UInt64) -> Int32 {
  hostile_keys_spin(value)
  return 1
}
private func findsKeys(_ argument: UInt64) -> Int32 { hostile_read_keys(0) == 0 ? 0 : 1 }

private func keyedServer(_ argument: UInt64) -> Int32 {
  guard let key = try? ProtectionKeys.take(), let gate = try? Gate.create(), (try? Pair.offer(gate)) != nil
  else { return 1 }
  Gate.serve { message in
    // Found as this environment has it, not as the caller had.
    message.words.0 &+= exo_keys_read() == exo_keys_wanted() ? 1 : 1000
    key.allow(message.words.1 % 2 == 0 ? [] : .read)
    // Left behind for the caller.
    hostile_write_keys(0xffff_fffc)
  }
  return 0
}

private func keyedClient(_ argument: UInt64) -> Int32 {
  guard let connection = try? Pair.connect(), let key = try? ProtectionKeys.take() else { return 1 }
  let memory = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
  guard (try? key.tag(UInt64(UInt(bitPattern: memory)), pages: 1)) != nil else { return 1 }
  for turn in 0..<500 as Range<UInt64> {
    key.allow(turn % 3 == 0 ? .read : [.read, .write])
    let before = exo_keys_read()
    var message = Message()
    message.words.0 = turn
    message.words.1 = turn
    do throws(ExocallError) { try connection.call(&message) } catch { return 2 }
    if message.words.0 != turn &+ 1 { return 3 }
    if exo_keys_read() != before || exo_keys_wanted() != before { return 4 }
    if turn % 3 != 0 { memory.storeBytes(of: turn, as: UInt64.self) }
  }
  key.allow([.read, .write])
  return memory.load(as: UInt64.self) == 499 ? 0 : 5
}

private func fatalServer(_ argument: UInt64) -> Int32 {
  guard (try? ProtectionKeys.take()) != nil, let gate = try? Gate.create(), (try? Pair.offer(gate)) != nil
  else { return 1 }
  if argument == 1, !bindsExceptions() { return 1 }
  Gate.serve { _ in
    // Returning uses its own stack.
    if argument == 2 { hostile_keys_breakpoint(0xffff_ffff) } else { hostile_write_keys(0xffff_ffff) }
  }
  return 0
}
private func survivingClient(_ argument: UInt64) -> Int32 {
  guard let connection = try? Pair.connect() else { return 1 }
  var message = Message()
  do throws(ExocallError) { try connection.call(&message) } catch {
    guard error == .closedPipe else { return 2 }
    // It goes on, on its own stack, with its ring.
    return exocall(EXO_CALL_null) == 0 ? 0 : 3
  }
  return 4
}
