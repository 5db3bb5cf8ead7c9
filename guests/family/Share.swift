import LibOS

/// One end of a share between two environments, which the variable EXO_SHARE_NAME names as `handle:pages`. `share write
/// NAME` fills it and waits for an answer, `share read NAME` waits for it to be filled and answers, `share look NAME`
/// only says what the capability is.
func share() {
  let arguments = Arguments.all
  guard arguments.count == 3, ["write", "read", "look"].contains(arguments[1]) else {
    print("share: write NAME, read NAME or look NAME")
    exit(2)
  }
  guard let text = Variables["EXO_SHARE_\(arguments[2])"], let given = parse(text) else {
    print("share: EXO_SHARE_\(arguments[2]) names no frames")
    exit(2)
  }
  do throws(ExocallError) {
    let frames = Capability(handle: given.handle)
    let description = try frames.inspect()
    print("\(description.count) pages, rights \(letters(description.rights))")
    switch arguments[1] {
    case "write": try write(frames, pages: given.pages)
    case "read": try read(frames, pages: given.pages)
    default: break
    }
  } catch {
    print("share: \(error)")
    exit(1)
  }
}

private func parse(_ text: String) -> (handle: UInt64, pages: UInt64)? {
  let parts = text.utf8.split(separator: 0x3a)
  guard parts.count == 2, let handle = number(parts[0]), let pages = number(parts[1]), pages > 0 else {
    return nil
  }
  return (handle, pages)
}

private func number(_ digits: Substring.UTF8View) -> UInt64? {
  var value: UInt64 = 0
  for digit in digits {
    guard (0x30...0x39).contains(digit) else { return nil }
    let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
    let (sum, over) = tenfold.addingReportingOverflow(UInt64(digit - 0x30))
    if overflow || over { return nil }
    value = sum
  }
  return digits.isEmpty ? nil : value
}

private func letters(_ rights: CapabilityRights) -> String {
  (rights.contains(.read) ? "r" : "-") + (rights.contains(.write) ? "w" : "-")
    + (rights.contains(.execute) ? "x" : "-")
}

/// Word 0 says that the rest is written, word 1 that it was read. The frames are the writer's: they go when it ends.
private func write(_ frames: Capability, pages: UInt64) throws(ExocallError) {
  try frames.map(at: SharedPage.first, pages: pages, [.read, .write])
  let words = SharedWords(address: SharedPage.first)
  for index in 2..<Int(pages) * 512 { words[index] = pattern(index) }
  words[0] = 1
  print("written")
  guard eventually({ words[1] == 1 }) else {
    print("no answer came")
    exit(1)
  }
  print("answered")
}

private func read(_ frames: Capability, pages: UInt64) throws(ExocallError) {
  try frames.map(at: SharedPage.first, pages: pages, [.read, .write])
  let words = SharedWords(address: SharedPage.first)
  guard eventually({ words[0] == 1 }) else {
    print("nothing came")
    exit(1)
  }
  let wrong = (2..<Int(pages) * 512).count { words[$0] != pattern($0) }
  print("read, \(wrong) words wrong")
  words[1] = 1
  exit(wrong == 0 ? 0 : 1)
}

private func pattern(_ index: Int) -> UInt64 { UInt64(index) &* 0x9e37_79b9 }
