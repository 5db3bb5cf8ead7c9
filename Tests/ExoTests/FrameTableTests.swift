import Testing

@testable import Exo

/// The frame table against arrays that are looked through one by one.
@Suite struct FrameTableTests {
  /// What the table promises, as plainly as it can be said.
  private struct Model {
    var kinds: [FrameTable.Kind]
    var owners: [EnvironmentID]
    var pins: [Int]
    var mappings: [[FrameTable.Mapping]]

    init(count: Int) {
      kinds = Array(repeating: .free, count: count)
      owners = Array(repeating: EnvironmentID(0), count: count)
      pins = Array(repeating: 0, count: count)
      mappings = Array(repeating: [], count: count)
    }
    var freeCount: Int { kinds.count { $0 == .free } }

    /// The first free run of that length, else the longest.
    func run(_ wanted: Int) -> Range<Int>? {
      var best: Range<Int>?
      var n = 0
      while n < kinds.count {
        let start = n
        while n < kinds.count, kinds[n] == .free, n - start < wanted { n += 1 }
        if n - start == wanted { return start..<n }
        if n - start > best?.count ?? 0 { best = start..<n }
        if n == start { n += 1 }
      }
      return best
    }
    mutating func take(_ range: Range<Int>, _ kind: FrameTable.Kind, _ owner: EnvironmentID) {
      for n in range {
        kinds[n] = kind
        owners[n] = owner
        pins[n] = 0
      }
    }
  }

  private static func frame(_ n: Int) -> Frame { Frame(UInt32(n)) }

  private func compare(_ table: FrameTable, _ model: Model, frames: some Sequence<Int>) {
    #expect(table.freeCount == model.freeCount)
    for n in frames {
      let frame = Self.frame(n)
      let same =
        table.kind(of: frame) == model.kinds[n] && table.isFree(frame) == (model.kinds[n] == .free)
        && table.owner(of: frame) == (model.kinds[n] == .free ? nil : model.owners[n])
        && table.pins(of: frame) == model.pins[n]
        && Set(table.mappings(of: frame)) == Set(model.mappings[n])
        && table.mappings(of: frame).count == model.mappings[n].count
      #expect(same, "frame \(n): \(table.kind(of: frame)), model \(model.kinds[n])")
    }
  }

  @Test(arguments: [1, 2, 63, 64, 65, 127, 128, 129, 200, 320])
  func randomOperations(count: Int) {
    var random = SeededGenerator(seed: UInt64(count))
    var table = FrameTable(count: count)
    var model = Model(count: count)
    for step in 0..<12_000 {
      let n = Int.random(in: 0..<count, using: &random)
      let frame = Self.frame(n)
      let owner = EnvironmentID(UInt32.random(in: 1...4, using: &random))
      let mapping = FrameTable.Mapping(
        environment: owner, address: GuestAddress(UInt64.random(in: 0..<4, using: &random) << 12))
      // Half of the runs are short, so that the table fills up in pieces.
      let wanted = Int.random(in: 1...(Bool.random(using: &random) ? 4 : max(4, count)), using: &random)
      switch Int.random(in: 0..<16, using: &random) {
      case 0...2:
        let kind = [FrameTable.Kind.data, .pageTable, .kit, .nucleus].randomElement(using: &random)!
        let expected = model.run(wanted)
        let found = table.allocate(upTo: wanted, kind: kind, owner: owner)
        #expect(found?.first == expected.map { Self.frame($0.lowerBound) }, "step \(step)")
        #expect(found?.count == expected?.count)
        if let expected { model.take(expected, kind, owner) }
      case 3 where Bool.random(using: &random):
        let alignment = 1 << Int.random(in: 0...6, using: &random)
        let expected = stride(from: 0, through: count - wanted, by: alignment).first { start in
          (start..<start + wanted).allSatisfy { model.kinds[$0] == .free }
        }
        let found = table.allocate(wanted, alignment: alignment, kind: .data, owner: owner)
        #expect(found == expected.map(Self.frame))
        if let expected { model.take(expected..<expected + wanted, .data, owner) }
      case 3:
        let fits = n + wanted <= count && (n..<n + wanted).allSatisfy { model.kinds[$0] == .free }
        let taken = table.allocate(at: frame, count: wanted, kind: .data, owner: owner)
        #expect(taken == fits)
        if fits { model.take(n..<n + wanted, .data, owner) }
      case 4...6:
        guard model.kinds[n] != .free, model.mappings[n].isEmpty else { continue }
        table.release(frame)
        model.take(n..<n + 1, .free, EnvironmentID(0))
      case 7:
        guard model.kinds[n] != .free, model.mappings[n].isEmpty else { continue }
        table.retire(frame)
        model.take(n..<n + 1, .retiring, EnvironmentID(0))
      case 8, 9:
        guard model.kinds[n] != .free else { continue }
        table.addMapping(mapping, to: frame)
        model.mappings[n].append(mapping)
      case 10...13:
        let wanted = model.mappings[n].randomElement(using: &random) ?? mapping
        let index = model.mappings[n].lastIndex(of: wanted)
        let removed = table.removeMapping(wanted, from: frame)
        #expect(removed == (index != nil))
        if let index { model.mappings[n].remove(at: index) }
      case 14:
        guard model.kinds[n] != .free else { continue }
        table.pin(frame)
        model.pins[n] += 1
      default:
        guard model.pins[n] > 0 else { continue }
        table.unpin(frame)
        model.pins[n] -= 1
      }
      if step % 500 == 0 {
        compare(table, model, frames: 0..<count)
      } else {
        compare(table, model, frames: [n])
      }
    }
    compare(table, model, frames: 0..<count)
  }

  @Test func wholeTableInOneRun() throws {
    for count in [1, 64, 65, 1000] {
      var table = FrameTable(count: count)
      let found = table.allocate(upTo: count, kind: .data, owner: EnvironmentID(1))
      let run = try #require(found)
      #expect(run.first == Frame(0) && run.count == count && table.freeCount == 0)
      let more = table.allocate(upTo: 1, kind: .data, owner: EnvironmentID(1))
      #expect(more == nil)
    }
  }

  @Test func longestRunWhenNoneIsLongEnough() throws {
    var table = FrameTable(count: 300)
    _ = table.allocate(upTo: 300, kind: .data, owner: EnvironmentID(1))
    // Runs of 3, 70 (across two words' ends) and 5.
    for range in [10..<13, 60..<130, 290..<295] { for n in range { table.release(Self.frame(n)) } }
    let found = table.allocate(upTo: 100, kind: .data, owner: EnvironmentID(2))
    let run = try #require(found)
    #expect(run.first == Frame(60) && run.count == 70)
    #expect(table.freeCount == 8)
  }

  /// The search starts where the last one ended; a run that lies across that place is found all the same.
  @Test func runAcrossTheHint() throws {
    var table = FrameTable(count: 128)
    _ = table.allocate(upTo: 100, kind: .data, owner: EnvironmentID(1))
    for n in 80..<100 { table.release(Self.frame(n)) }
    let found = table.allocate(upTo: 48, kind: .data, owner: EnvironmentID(1))
    let run = try #require(found)
    #expect(run.first == Frame(80) && run.count == 48)
  }

  @Test func refusals() {
    var table = FrameTable(count: 10)
    for wanted in [0, -1, Int.min] {
      let run = table.allocate(upTo: wanted, kind: .data, owner: EnvironmentID(1))
      #expect(run == nil)
    }
    for (first, count) in [(0, 0), (9, 2), (10, 1), (UInt32.max, 1)] {
      let taken = table.allocate(at: Frame(first), count: count, kind: .data, owner: EnvironmentID(1))
      #expect(!taken)
    }
    #expect(!table.isFree(Frame(10)) && !table.isFree(Frame(.max)))
    #expect(table.freeCount == 10)
  }

  /// A name past the end is nobody's and mapped nowhere: asking must not trap.
  @Test func framesOutsideTheMachine() {
    let table = FrameTable(count: 10)
    for frame in [Frame(10), Frame(.max)] {
      #expect(table.owner(of: frame) == nil && table.pins(of: frame) == 0)
      #expect(table.mappings(of: frame).isEmpty)
    }
  }
}
