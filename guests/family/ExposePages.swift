import LibOS

/// Several page operations in one exocall.
func vectors() throws(ExocallError) {
  let base = SharedPage.first
  let grant = try Exocall.frameAllocate(count: 8)
  guard grant.count == 8 else { return Promises.check(false, "eight frames side by side") }
  var map = PageVector(.map)
  // Every other page, frames in reverse.
  for page: UInt64 in 0..<8 {
    map.add(at: base + page << 13, [.read, .write], capability: grant.owner, page: 7 - page)
  }
  let mapped = map.submit()
  Promises.check(mapped.completed == 8 && mapped.refusal == nil, "eight pages apart mapped by one call")
  Promises.check(
    (0..<8).allSatisfy { PageTables.frame(of: base + $0 << 13).map(UInt64.init) == grant.first + 7 - $0 },
    "each to the frame it was given")
  var protect = PageVector(.protect)
  for page: UInt64 in [0, 2, 9, 4] { protect.add(at: base + page << 13, .read) }
  let lowered = protect.submit()
  Promises.check(
    lowered.completed == 2 && lowered.refusal == .noEntry
      && PageTables.entry(of: base + 2 << 13)?.rights == .read
      && PageTables.entry(of: base + 4 << 13)?.rights == [.read, .write],
    "a vector stops at the first that is refused and says how far it came")
  var unmap = PageVector(.unmap)
  for page: UInt64 in 0..<8 { unmap.add(at: base + page << 13) }
  let gone = unmap.submit()
  Promises.check(
    gone.completed == 8 && gone.refusal == nil && PageTables.entry(of: base) == nil,
    "and unmapped by one call")
  try grant.owner.drop()
}

/// Guaranteed mappings.
func guarantees() throws(ExocallError) {
  let page = try SharedPage.make()
  let address = page.words.address
  try Exocall.pin(address, pages: 1)
  Promises.check(PageTables.entry(of: address)?.isPinned == true, "a guaranteed page is marked so")
  Promises.refused(.busy, "it is not unmapped") { () throws(ExocallError) in
    try Exocall.unmap(address, pages: 1)
  }
  Promises.refused(.busy, "nor protected") { () throws(ExocallError) in
    try Exocall.protect(address, pages: 1, rights: .read)
  }
  Promises.refused(.busy, "nor is its frame given back") { () throws(ExocallError) in
    try page.frame.drop()
  }
  try Exocall.unpin(address, pages: 1)
  Promises.check(PageTables.entry(of: address)?.isPinned == false, "let go, it is a page like others")
  Promises.refused(.noEntry, "what is not mapped cannot be guaranteed") { () throws(ExocallError) in
    try Exocall.pin(SharedPage.second, pages: 1)
  }
  try page.release()
}
