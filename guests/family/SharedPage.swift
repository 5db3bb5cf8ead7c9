import GuestRuntime
import LibOS
import Synchronization

/// The words of a page that several environments have mapped at the same address.
struct SharedWords {
  let address: UInt64

  subscript(index: Int) -> UInt64 {
    get { word(index).pointee.load(ordering: .acquiring) }
    nonmutating set { word(index).pointee.store(newValue, ordering: .releasing) }
  }

  private func word(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    UnsafeMutablePointer(bitPattern: UInt(address) + UInt(index) * 8).unsafelyUnwrapped
  }
}

/// A page of this environment's own to share with children.
struct SharedPage {
  /// Where the first one lies, here and in children.
  static var first: UInt64 { 0x6000_0000_0000 }
  static var second: UInt64 { first + 4096 }

  let frame: Capability
  let words: SharedWords

  static func make(at address: UInt64 = first) throws(ExocallError) -> SharedPage {
    let frame = try Exocall.frameAllocate(count: 1).owner
    try frame.map(at: address, pages: 1, [.read, .write])
    return SharedPage(frame: frame, words: SharedWords(address: address))
  }

  func give(to child: LibOS.Child, _ rights: Rights) throws(ExocallError) {
    try child.environment.map(frame, at: words.address, pages: 1, rights)
  }

  func release() throws(ExocallError) {
    try Exocall.unmap(words.address, pages: 1)
    try frame.drop()
  }
}

/// Waits, running, for something that another environment does; false after ten seconds.
func eventually(_ condition: () -> Bool) -> Bool {
  let limit = Clock.now + 10_000_000_000
  while !condition() {
    if Clock.now > limit { return false }
    for _ in 0..<100 { exo_pause() }
  }
  return true
}
