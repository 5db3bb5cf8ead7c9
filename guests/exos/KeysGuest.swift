import ExoABI
import ExosMemory
import GuestRuntime
import LibOS

/// Protection keys where the machine has them; elsewhere, that it says so.
func protectionKeys() {
  Promises.part("refusals", keyRefusals)
  Promises.part("pages", keyedPages)
  Promises.part("entries", keyedEntries)
  Promises.finish()
}

private func keyRefusals() throws(ExocallError) {
  let page = UInt64(UInt(bitPattern: UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)))
  Promises.refused(.invalid, "a key of more than four bits is none") { () throws(ExocallError) in
    try Exocall.setKey(page, pages: 1, key: 16)
  }
  Promises.refused(.invalid, "the kit has no keys") { () throws(ExocallError) in
    try Exocall.setKey(exo_kit_trap, pages: 1, key: 1)
  }
  guard !ProtectionKeys.areOffered else {
    return Promises.refused(.noEntry, "what is not mapped gets no key") { () throws(ExocallError) in
      try Exocall.setKey(SharedPage.first, pages: 1, key: 1)
    }
  }
  Promises.refused(.unsupported, "without keys, none can be taken") { () throws(ExocallError) in
    _ = try ProtectionKeys.take()
  }
  Promises.refused(.unsupported, "nor a page be given one") { () throws(ExocallError) in
    try Exocall.setKey(page, pages: 1, key: 1)
  }
  Promises.check(PageTables.entry(of: page)?.key == 0, "and its entry is as it was")
}

nonisolated(unsafe) private var faults: [PageFault] = []
nonisolated(unsafe) private var codes: [UInt64] = []
nonisolated(unsafe) private var opened = ProtectionKey?.none

/// A hundred pages under one key, and one beside them.
private func keyedPages() throws(ExocallError) {
  guard ProtectionKeys.areOffered else { return }
  let (count, size) = (100, 4096)
  let memory = UnsafeMutableRawPointer.allocate(byteCount: (count + 1) * size, alignment: size)
  let base = UInt64(UInt(bitPattern: memory))
  let words = SharedWords(address: base)
  for page in 0...count { words[page * 512] = UInt64(page) }
  let key = try ProtectionKeys.take()
  let other = try ProtectionKeys.take()
  Promises.check(key != other && key.number != 0 && other.number != 0, "two keys are two, and none is 0")
  try key.tag(base, pages: UInt64(count))
  opened = key
  faults.reserveCapacity(16)
  codes.reserveCapacity(16)
  try PageFaults.bind { fault, frame in
    faults.append(fault)
    codes.append(frame.error_code)
    opened?.allow([.read, .write])
  }

  words[0] = 7
  Promises.check(faults.isEmpty && words[0] == 7, "a key that is taken allows everything")
  key.allow(.read)
  Promises.check(words[99 * 512] == 99 && faults.isEmpty, "one WRPKRU, and a hundred pages are read-only")
  words[count * 512] = 1
  Promises.check(faults.isEmpty, "the page beside them is not")
  words[99 * 512] = 5
  Promises.check(
    faults.count == 1 && faults[0].isKey && faults[0].isWrite && faults[0].address == base + UInt64(99 * size)
      && codes[0] == 0x27, "a store faults, with its address, by the key")
  Promises.check(words[99 * 512] == 5, "and is done once the key allows it")
  words[0] = 8
  Promises.check(faults.count == 1, "as are all the others")
  key.allow([])
  let read = words[50 * 512]
  Promises.check(
    faults.count == 2 && faults[1].isKey && !faults[1].isWrite && codes[1] == 0x25 && read == 50,
    "a key may forbid loads too")
  other.allow([])
  words[1 * 512] = 2
  Promises.check(faults.count == 2, "another key is another's pages' affair")
  Promises.check(
    exo_keys_read() == exo_keys_wanted() && exo_keys_wanted() == 1 << (2 * other.number), "PKRU says so")

  // The exokernel is not bound by it.
  key.allow([])
  let grant = try Exocall.frameAllocate(count: 1)
  try grant.owner.drop()
  Promises.check(faults.count == 2, "exocalls go on under it")
  key.allow([.read, .write])
  try key.untag(base, pages: UInt64(count))
  key.allow([])
  words[0] = 9
  Promises.check(faults.count == 2 && words[0] == 9, "a page without its key is as before")
  ProtectionKeys.give(key)
  ProtectionKeys.give(other)
  Promises.check((try ProtectionKeys.take()) == key, "a key that was given back can be had again")
  try PageFaults.unbind()
  memory.deallocate()
}

/// What keeps the key and what does not.
private func keyedEntries() throws(ExocallError) {
  guard ProtectionKeys.areOffered else { return }
  let page = SharedPage.first
  let grant = try Exocall.frameAllocate(count: 1)
  try grant.owner.map(at: page, pages: 1, [.read, .write])
  func key() -> UInt32? { PageTables.entry(of: page)?.key }
  for number: UInt32 in [15, 8, 1, 0, 9] {
    try Exocall.setKey(page, pages: 1, key: number)
    Promises.check(key() == number, "the entry says key \(number)")
  }
  try Exocall.protect(page, pages: 1, rights: .read)
  let lowered = key()
  try Exocall.protect(page, pages: 1, rights: [.read, .write])
  Promises.check(lowered == 9 && key() == 9, "the nucleus's protection leaves the key alone")
  for rights: Rights in [[], .read, [.read, .write]] {
    _ = try Exocall.make(EXO_CALL_protect, page, rights)
    Promises.check(key() == 9, "so does the exokernel's")
  }
  SharedWords(address: page)[0] = 3
  Promises.check(
    PageTables.entry(of: page)?.isDirty == true && key() == 9, "the hardware's marks stand beside it")
  try Exocall.unmap(page, pages: 1)
  try grant.owner.map(at: page, pages: 1, [.read, .write])
  Promises.check(key() == 0, "what is mapped anew has none")
  try Exocall.unmap(page, pages: 1)
  try grant.owner.drop()
}

extension Exocall {
  /// Past the nucleus.
  fileprivate static func make(_ call: exo_call, _ page: UInt64, _ rights: Rights) throws(ExocallError)
    -> Int64
  {
    guard let answer = Exocall.call(RingRequest(call.rawValue, page, 1, rights.rawValue)) else {
      throw .tryAgain
    }
    if answer.result < 0 { throw ExocallError(number: Int32(truncatingIfNeeded: -answer.result)) }
    return answer.result
  }
}
