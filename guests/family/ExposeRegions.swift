import LibOS

/// Bytes that several environments share under a rule of their maker's.
func regions() throws(ExocallError) {
  let region = try Region.create(size: 64, rule: growing())
  try region.store(10, at: 8)
  Promises.check(try region.word(at: 8) == 10, "a region keeps what the rule lets in")
  Promises.refused(.notPermitted, "the rule refuses a smaller value") { () throws(ExocallError) in
    try region.store(9, at: 8)
  }
  Promises.refused(.outOfRange, "nothing is past a region's end") { () throws(ExocallError) in
    _ = try region.word(at: 60)
  }
  let end = try use(region, [.read, .write])
  let grown = try region.word(at: 8)
  Promises.check(
    end == .exited(status: 0) && grown == 20, "a child is held to the same rule: it \(end)")
  let reader = try use(region, .read)
  Promises.check(reader == .exited(status: 0x10), "one with the right to read only reads: it \(reader)")
  try region.capability.drop()

  let announced = try Region.create(size: 16, rule: .makerWrites)
  try announced.store(15, at: 8)
  let other = try use(announced, [.read, .write])
  Promises.check(other == .exited(status: 0x10), "where only the maker writes, a child does not: it \(other)")
  try announced.capability.drop()
  Promises.refused(.invalid, "a rule without an answer is not taken") { () throws(ExocallError) in
    _ = try Region.create(size: 16, rule: RegionRule())
  }
}

/// Words may only grow, whoever writes.
private func growing() -> RegionRule {
  var rule = RegionRule()
  rule.load(.operation, into: .r0)
  rule.when(.r0) {
    $0.load(.offset, into: .r1)
    $0.word(at: .r1, into: .r2)
    $0.load(.newWord, into: .r3)
    $0.less(.r2, .r3, into: .r4)
    $0.answer(.r4)
  }
  rule.set(.r4, to: 1)
  rule.answer(.r4)
  return rule
}

/// Has a child read the word at 8, write it larger by 10 and try to write it smaller. Its status says what went other
/// than it does where all of that is allowed but the last: 1 read, 0x10 larger, 2 smaller.
private func use(_ region: Region, _ rights: CapabilityRights) throws(ExocallError) -> EnvironmentEnd {
  // The handle is known once the child exists, so it finds it in its own table.
  var child = try Child.make(modest) { _ in
    let mine = Capability.own.first { (try? $0.inspect())?.kind == .region }
    guard let mine else { return 0x80 }
    let region = Region(mine)
    var problems: Int32 = 0
    let word = (try? region.word(at: 8)) ?? 0
    if word < 10 { problems |= 1 }
    if (try? region.store(word + 10, at: 8)) == nil { problems |= 0x10 }
    if (try? region.store(word, at: 8)) != nil { problems |= 2 }
    return problems
  }
  _ = try region.capability.grant(to: child.environment, rights)
  try child.start()
  return try child.wait()
}
