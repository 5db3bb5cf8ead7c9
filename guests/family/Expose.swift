import GuestRuntime
import LibOS

/// What the exokernel shows every environment without a call, and lets it do with its own pages.
func expose() {
  Promises.part("frames", frames)
  Promises.part("names", names)
  Promises.part("tables", tables)
  Promises.part("vectors", vectors)
  Promises.part("guarantees", guarantees)
  Promises.part("regions", regions)
  Promises.finish()
}

/// The free count and the list of one's own frames.
private func frames() throws(ExocallError) {
  // Page tables and the heap's first pages are there already, so that only what is counted changes.
  let warm = try SharedPage.make()
  let before = (free: Machine.framesFree, held: Frames.held)
  let grant = try Exocall.frameAllocate(count: 5)
  Promises.check(
    Machine.framesFree == before.free - grant.count && Frames.held == before.held + grant.count,
    "\(grant.count) frames taken show in the free count and in what is held")
  let run = Frames.Run(first: UInt32(grant.first), count: UInt32(grant.count))
  let owned = Frames.owned
  Promises.check(owned.isComplete && owned.runs.contains(run), "and in the list of one's own")
  let mine = PageTables.frame(of: warm.words.address)
  Promises.check(
    mine.map { frame in owned.runs.contains { $0.contains(frame) } } ?? false,
    "the list has the frame that the page table names")
  let full = Frames.held
  try grant.owner.drop()
  Promises.check(
    Frames.held == full - grant.count && !Frames.owned.runs.contains(run), "given back, they are gone from it"
  )
  try warm.release()
}

/// Frames by number.
private func names() throws(ExocallError) {
  let any = try Exocall.frameAllocate(count: 1)
  let number = any.first
  Promises.refused(.busy, "a frame that has an owner is not to be had by name") {
    () throws(ExocallError) in _ = try Exocall.frameAllocate(first: number, count: 1)
  }
  try any.owner.drop()
  let named = try Exocall.frameAllocate(first: number, count: 1)
  Promises.check(named.first == number, "one that is free is")
  let description = try named.owner.inspect()
  Promises.check(
    description.contains(frame: UInt32(number)) && description.count == 1
      && Capability.own.contains(named.owner),
    "its capability says so and is in the list of one's own")
  Promises.refused(.outOfRange, "no frame is past the machine's last") {
    () throws(ExocallError) in _ = try Exocall.frameAllocate(first: Machine.framesTotal, count: 1)
  }
  let part = try named.owner.derive([.read])
  Promises.refused(.notPermitted, "a capability derived to read does not map to write") {
    () throws(ExocallError) in try part.map(at: SharedPage.first, pages: 1, [.read, .write])
  }
  try named.owner.drop()
  Promises.refused(.stale, "with the first capability the derived one goes") {
    () throws(ExocallError) in _ = try part.inspect()
  }
}

/// The page table with accessed and dirty bits.
private func tables() throws(ExocallError) {
  let base = SharedPage.first
  let grant = try Exocall.frameAllocate(count: 3)
  guard grant.count == 3 else { return Promises.check(false, "three frames side by side") }
  try grant.owner.map(at: base, pages: 3, [.read, .write])
  func bits(_ page: UInt64) -> (accessed: Bool, dirty: Bool)? {
    PageTables.entry(of: base + page << 12).map { ($0.isAccessed, $0.isDirty) }
  }
  let words = SharedWords(address: base)
  _ = words[0]
  words[512] = 1
  Promises.check(bits(0)! == (true, false), "a page read is accessed and not dirty")
  Promises.check(bits(1)! == (true, true), "a page written is both")
  Promises.check(bits(2)! == (false, false), "a page left alone is neither")
  Promises.check(
    (0..<3).allSatisfy { PageTables.frame(of: base + $0 << 12).map(UInt64.init) == grant.first + $0 },
    "each entry names its frame")
  try Exocall.protect(base, pages: 1, rights: .read)
  let lowered = PageTables.entry(of: base)
  Promises.check(
    lowered?.rights == .read && lowered?.granted.contains(.write) == true,
    "a protected page keeps what was granted")
  try Exocall.unmap(base, pages: 3)
  Promises.check(PageTables.entry(of: base) == nil, "an unmapped page has no entry")
  Promises.check(
    PageTables.entry(of: 0) == nil && PageTables.entry(of: 0x7000_0000_0000) == nil,
    "nor has one under no table")
  let text = PageTables.entry(of: exo_image_header())
  Promises.check(text?.rights == .read, "the image's headers can only be read")
  try grant.owner.drop()
}
