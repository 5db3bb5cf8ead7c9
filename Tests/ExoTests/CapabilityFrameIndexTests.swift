import Testing

@testable import Exo

@Suite struct CapabilityFrameIndexTests {
  private struct Entry {
    let run: Run<UInt32>
    let rights: Rights
    let id: FrameIndex.ID
    let tree: Int
  }

  /// Random runs come and go in three trees of one index; what is covered is compared with a look at each run.
  @Test(arguments: [1, 2, 3]) func agreesWithALookAtEachRun(seed: UInt64) {
    var random = CapabilityRandom(seed: seed)
    var index = FrameIndex(seed: seed)
    var roots = Array(repeating: FrameIndex.ID.none, count: 3)
    var entries: [Entry] = []
    for step in 0..<6000 {
      // Up to some hundred runs, then down to none, again and again.
      let growing = step / 400 % 2 == 0
      if entries.isEmpty || Int.random(in: 0..<10, using: &random) < (growing ? 8 : 2) {
        let first = UInt32.random(in: 0..<64, using: &random)
        let longest: UInt32 = Bool.random(using: &random) ? 1 : 40
        guard let run = Run(first: first, count: .random(in: 1...longest, using: &random)) else { continue }
        let rights = Rights(rawValue: .random(in: 0..<8, using: &random))
        let tree = Int.random(in: 0..<3, using: &random)
        let id = index.insert(run, rights, into: &roots[tree])
        entries.append(Entry(run: run, rights: rights, id: id, tree: tree))
      } else {
        let entry = entries.remove(at: .random(in: entries.indices, using: &random))
        index.remove(entry.id, from: &roots[entry.tree])
      }
      for _ in 0..<4 {
        let frame = UInt32.random(in: 0..<110, using: &random)
        let rights = Rights(rawValue: .random(in: 0..<8, using: &random))
        let tree = Int.random(in: 0..<3, using: &random)
        let expected = entries.contains {
          $0.tree == tree && $0.run.contains(frame) && rights.isSubset(of: $0.rights)
        }
        let answer = index.covers(Frame(frame), rights, in: roots[tree])
        if answer != expected {
          Issue.record("seed \(seed), step \(step): frame \(frame) \(rights) in tree \(tree): \(answer)")
          return
        }
      }
    }
  }

  /// Runs in order, nested runs: what would make a list of a tree without priorities.
  @Test func staysShallow() throws {
    var index = FrameIndex(seed: 7)
    var root = FrameIndex.ID.none
    var ids: [FrameIndex.ID] = []
    for first: UInt32 in 0..<4000 {
      let run = try #require(Run(first: first, count: 8000 - 2 * first))
      ids.append(index.insert(run, .read, into: &root))
    }
    // A list would be 4000 high, a perfect tree 12; this one is about twice that.
    #expect(index.height(of: root) < 40)
    #expect(index.covers(Frame(3999), .read, in: root))
    #expect(!index.covers(Frame(3999), .write, in: root))
    #expect(!index.covers(Frame(8000), .read, in: root))
    for id in ids { index.remove(id, from: &root) }
    #expect(root == .none)
  }

  @Test func coversNothingBeyondTheThreeRights() {
    var index = FrameIndex(seed: 1)
    var root = FrameIndex.ID.none
    guard let run = Run<UInt32>(first: 0, count: 1) else { return }
    _ = index.insert(run, .all, into: &root)
    #expect(index.covers(Frame(0), [], in: root))
    #expect(!index.covers(Frame(0), Rights(rawValue: 8), in: root))
    #expect(!index.covers(Frame(0), [], in: .none))
  }
}
