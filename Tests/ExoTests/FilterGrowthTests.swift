import Testing

@testable import Exo

/// What grows with the filters grows a little with each, and is right meanwhile.
@Suite struct FilterGrowthTests {
  @Test(arguments: 1...4) func aTableMovesFewEntriesWithEachChange(seed: Int) throws {
    var maker = PacketMaker(seed: UInt64(seed) << 20)
    let table = FilterTable(multiplier: UInt32.random(in: 1 << 30...UInt32.max, using: &maker.random) | 1)
    var model: [UInt32: FilterTable.Entry] = [:]
    var (most, seen, growths) = (0, table.moved, 0)
    for step in 0..<60_000 {
      // Up to some twenty thousand, then fewer. In order, as ports are given, or at random.
      let value =
        seed % 2 == 0
        ? UInt32(step % 30_000) << 16 : UInt32.random(in: 0..<40_000, using: &maker.random) &* 0x1234_5671
      let grew = table.form.place
      if model[value] == nil, step < 30_000 || maker.chance(30) {
        let entry = FilterTable.Entry(
          value: value, rank: UInt64(step + 1), target: UInt32(Int.random(in: 0...1, using: &maker.random)))
        let isSet = table.set(entry)
        try #require(isSet)
        model[value] = entry
      } else if maker.chance(20) {
        model[value]?.rank = 7
        model[value]?.target = 3
        table.setRank(7, of: value)
        table.setTarget(3, of: value)
      } else {
        let isDone = table.remove(value)
        try #require(isDone)
        model[value] = nil
      }
      if table.form.place != grew { growths += 1 }
      most = max(most, table.moved - seen)
      seen = table.moved
      for other in [value, UInt32.random(in: 0..<40_000, using: &maker.random) &* 0x1234_5671] {
        guard table.entry(of: other) == model[other] else {
          Issue.record("step \(step): \(String(describing: table.entry(of: other))) for \(other)")
          return
        }
      }
    }
    #expect(table.count == model.count)
    #expect(model.allSatisfy { table.entry(of: $0.key) == $0.value })
    #expect(growths > 8)
    // A part, and what lies together with its end: values may crowd. All of them are some twenty thousand.
    #expect(most > 0 && most <= 4 * FilterTable.step, "\(most) entries at once")
  }

  /// Each insertion into a table that grows, by code that looks in both places.
  @Test func codeFindsWhatHasNotBeenMoved() throws {
    var maker = PacketMaker(seed: 31)
    var classifier = PacketClassifier()
    let beginsCompiled = classifier.isCompiled
    #expect(beginsCompiled)
    var installed: [FilterID?] = Array(repeating: nil, count: 12_000)
    var packet = [UInt8](repeating: 0, count: 12) + [8, 0, 0x45] + [UInt8](repeating: 0, count: 23)
    packet[23] = 17
    let ports = (0..<installed.count).shuffled(using: &maker.random)
    for (step, port) in ports.enumerated() {
      // One of them leads on.
      installed[port] = try classifier.insert(
        Filter.ethernet.ipv4.udp(sourcePort: port == 5 ? 9 : nil, destinationPort: UInt16(port)))
      if maker.chance(10), let old = ports[..<step].randomElement(using: &maker.random),
        let id = installed[old]
      {
        classifier.remove(id)
        installed[old] = nil
      }
      for other in [
        port, ports[Int.random(in: 0...step, using: &maker.random)], ports[(step + 1) % ports.count],
      ] {
        (packet[34], packet[35]) = (0, 9)
        (packet[36], packet[37]) = (UInt8(other >> 8), UInt8(other & 0xff))
        let (compiled, interpreted) = (classifier.classify(packet.span), classifier.interpret(packet.span))
        guard compiled == installed[other], interpreted == installed[other] else {
          Issue.record(
            "\(step + 1) filters: port \(other) is \(String(describing: compiled)), \(String(describing: interpreted))"
          )
          return
        }
      }
    }
    let staysCompiled = classifier.isCompiled
    #expect(staysCompiled)
  }

  /// What overlaps is found without asking each filter, and is what asking each would say.
  @Test func overlapsAreFoundInTheTree() throws {
    var maker = PacketMaker(seed: 99)
    var classifier = PacketClassifier()
    var installed: [(id: FilterID, filter: Filter)] = []
    var found = 0
    for round in 0..<2000 {
      if installed.count < 300 || maker.chance(50) {
        let filter = maker.filter()
        if let id = try? classifier.insert(filter) { installed.append((id, filter)) }
      } else {
        let (id, _) = installed.remove(at: Int.random(in: 0..<installed.count, using: &maker.random))
        classifier.remove(id)
      }
      let filter = maker.filter()
      let expected = installed.filter { filter.overlaps($0.filter) }.map(\.id).sorted()
      let overlapping = classifier.overlapping(filter)
      guard overlapping == expected else {
        Issue.record("round \(round): \(filter) with \(overlapping), not \(expected)")
        return
      }
      found += expected.count
      let last = expected.last
      let isThere = classifier.containsOverlapping(filter) { $0 == last }
      #expect(isThere == (last != nil))
    }
    #expect(found > 10_000)
  }

  @Test func aSplitDictionaryIsADictionary() {
    var maker = PacketMaker(seed: 3)
    var (split, model) = (SplitDictionary<Int>(), [UInt32: Int]())
    for step in 0..<20_000 {
      let key = UInt32.random(in: 0..<3000, using: &maker.random) &* 0x0100_0193
      switch Int.random(in: 0..<4, using: &maker.random) {
      case 0: #expect(split.removeValue(forKey: key) == model.removeValue(forKey: key))
      case 1: (split[key], model[key]) = (nil, nil)
      default: (split[key], model[key]) = (step, step)
      }
      #expect(split.count == model.count && split[key] == model[key])
    }
    #expect(Dictionary(uniqueKeysWithValues: split.map { ($0.key, $0.value) }) == model)
    #expect(split.first != nil && SplitDictionary<Int>().first == nil && SplitDictionary<Int>().isEmpty)
  }
}
