import LibOS

/// A frame shared for reading: the child reads what is there, and faults when it writes.
func shares() throws(ExocallError) {
  let page = try SharedPage.make()
  let answer = try SharedPage.make(at: SharedPage.second)
  page.words[3] = 0x5eed
  var child = try Child.make(modest) { _ in
    let words = SharedWords(address: SharedPage.first)
    SharedWords(address: SharedPage.second)[0] = words[3] + 1
    words[3] = 0
    return 0
  }
  try page.give(to: child, .read)
  try answer.give(to: child, [.read, .write])
  try child.start()
  let end = try child.wait()
  Promises.check(answer.words[0] == 0x5eee, "a child read a page shared for reading")
  Promises.check(
    end == .faulted(vector: 14, address: page.words.address + 24) && page.words[3] == 0x5eed,
    "its write did not come through: it \(end)")
  try page.release()
  try answer.release()
}

/// A frame taken back while the child reads it: the child faults there, the frame is as it was.
func revokes() throws(ExocallError) {
  let page = try SharedPage.make()
  let answer = try SharedPage.make(at: SharedPage.second)
  page.words[0] = 1
  var child = try Child.make(modest) { _ in
    let answer = SharedWords(address: SharedPage.second)
    while true { answer[0] &+= SharedWords(address: SharedPage.first)[0] }
  }
  try page.give(to: child, .read)
  try answer.give(to: child, [.read, .write])
  try child.start()
  Promises.check(eventually { answer.words[0] > 1000 }, "a child reads a page again and again")
  let taken = try page.frame.revoke()
  let end = try child.wait()
  Promises.check(
    taken == 1 && end == .faulted(vector: 14, address: page.words.address),
    "the page was taken back: it \(end)")
  Promises.check(page.words[0] == 1, "the page is still its owner's")
  try page.release()
  try answer.release()
}
