import ExoABI

/// Protection keys (Intel SDM 3A, "Protection Keys"; AMD APM 2, "Memory Protection Keys"). A key in a page-table entry and the
/// register PKRU together can only take access away, so whoever has a page mapped may give it any key; no authority is asked for.
///
/// PKRU is written at ring 3, by an instruction that tells nobody, so it belongs to the virtual processor and must not go along
/// where that goes:
///
/// - a vCPU that changes hands is cleared (`VCPU.clearState`), and one that is parked takes it along (`VCPU.save`);
/// - a control transfer makes it 0, which takes ten instructions of the nucleus more. So keys are off in a machine, WRPKRU is
///   invalid, and transfers are as short as they were, until somebody first gives a page a key;
/// - a key binds ring 0 on user pages too. The nucleus's own stacks are a supervisor's pages therefore (`NativeRing0.equip`):
///   whatever an environment forbids itself, its double fault is delivered, and ends it alone.
enum ProtectionKeys: Hashable, Sendable {
  /// Not with this processor, or where ring 0 is interpreted.
  case absent
  /// Nobody has given a page a key yet.
  case off
  case on
}

extension Kernel {
  /// Gives bound pages a key: all or none. It stays with the entry until that is cleared.
  ///
  /// - Throws: `unsupported`, `absent` if a page is not bound, `invalid` for a part of a huge one.
  mutating func setKey(
    _ key: Int, _ address: GuestAddress, pages: Int, in id: EnvironmentID
  ) throws(Refusal) {
    guard keys != .absent else { throw .unsupported }
    guard let space = space(of: id) else { throw .absent }
    let areBound = space.forEachEntryRun(of: address, pages: pages, in: memory) { memory.isBound($0) }
    if !areBound {
      try refusePartsOfHugePages(address, pages: pages, in: space)
      throw .absent
    }
    if keys == .off { switchKeysOn() }
    var changed = LoweredPages()
    _ = space.forEachEntryRun(of: address, pages: pages, in: memory) { run in
      memory.setKey(run, key, &changed)
      return true
    }
    lower(changed)
  }

  /// From here on WRPKRU is an instruction, and transfers take the longer way: for all environments at once, since any virtual
  /// processor may be in any of them. It stays so.
  private mutating func switchKeysOn() {
    let latches = domains.values.map(\.latch)
    for latch in latches { latch.beginHold() }
    defer { for latch in latches { latch.endHold() } }
    keys = .on
    for (id, domain) in domains where domain.entry != nil {
      domains[id]?.transferStub = .forgettingKeys
      domain.shell.tables.bindTransfer(.forgettingKeys, in: memory)
    }
    translations.hardware?.switchKeysOn()
  }
}
