import Glibc
import TestSupport
import Testing

@testable import Exo

/// A classifier that tests may share and hand to macros.
private final class Classifier {
  private var classifier: PacketClassifier
  init() { classifier = PacketClassifier() }
  init(_ compiler: FilterCompiler) { classifier = PacketClassifier(compiler) }
  var isCompiled: Bool { classifier.isCompiled }
  var count: Int { classifier.count }
  func insert(_ filter: Filter) throws(FilterError) -> FilterID { try classifier.insert(filter) }
  @discardableResult func remove(_ id: FilterID) -> Bool { classifier.remove(id) }
  func classify(_ packet: [UInt8]) -> FilterID? { classifier.classify(packet.span) }
  func interpret(_ packet: [UInt8]) -> FilterID? { classifier.interpret(packet.span) }
  func classify(_ packet: Span<UInt8>) -> FilterID? { classifier.classify(packet) }
  func interpret(_ packet: Span<UInt8>) -> FilterID? { classifier.interpret(packet) }
  /// As a batch; nil if the count that comes with it is not that of those that belong to a filter.
  func classify(together packets: [[UInt8]]) -> [FilterID?]? {
    var batch = PacketBatch()
    for packet in packets { batch.append(packet[...]) }
    var matches = FilterMatches()
    let matched = classifier.classify(batch, into: &matches)
    let found = packets.indices.map { matches[$0] }
    return matched == found.count { $0 != nil } ? found : nil
  }
}

/// The filter language, the merged structure and its compiled code, each against what a filter means.
@Suite struct FilterTests {
  /// What the language says: of the filters that match, the most specific, then the first.
  private func best(_ filters: [(id: FilterID, filter: Filter)], _ packet: [UInt8]) -> FilterID? {
    var (winner, rank) = (FilterID?.none, UInt64(0))
    for (id, filter) in filters where filter.matches(packet.span) && FilterTrie.rank(filter, id) > rank {
      (winner, rank) = (id, FilterTrie.rank(filter, id))
    }
    return winner
  }

  // Spans do not go through the macros.
  private func hits(_ filter: Filter, _ packet: [UInt8]) -> Bool { filter.matches(packet.span) }

  // --- the language

  @Test func aFilterMatchesWhatItSays() throws {
    let web = try Filter.ethernet.ipv4.to(IPv4Address(10, 0, 0, 1)).tcp(destinationPort: 80)
    // 24 bytes of header: one word of options.
    var packet: [UInt8] = [UInt8](repeating: 2, count: 12) + [8, 0]
    packet += [0x46, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0, 1, 2, 3, 4, 10, 0, 0, 1, 1, 1, 1, 1]
    packet += [0x30, 0x39, 0, 80]
    #expect(hits(web, packet))
    for place in [12, 20, 21, 23, 33, 41] {
      var other = packet
      other[place] ^= 1
      #expect(!hits(web, other), "byte \(place)")
    }
    // Bytes that are not asked about.
    for place in [0, 16, 22, 26, 38, 39] {
      var other = packet
      other[place] ^= 1
      #expect(hits(web, other), "byte \(place)")
    }
    for length in 0..<packet.count { #expect(!hits(web, Array(packet[..<length])), "\(length) bytes") }
  }

  @Test func orderAndRepetitionAreNoDifference() throws {
    let one = try Filter.ethernet.ipv4.from(IPv4Address(10, 0, 0, 1)).to(IPv4Address(10, 0, 0, 2)).udp(
      destinationPort: 53)
    let two = try Filter.ethernet.ipv4.to(IPv4Address(10, 0, 0, 2)).from(IPv4Address(10, 0, 0, 1))
      .from(IPv4Address(10, 0, 0, 9), prefix: 16).udp(destinationPort: 53)
    #expect(one == two)
    #expect(one.specificity == 16 + 8 + 64 + 13 + 16)
    #expect(try Filter.ethernet.filter == Filter.everything)
  }

  @Test func whatNoPacketMatchesIsRefused() throws {
    #expect(throws: FilterError.contradiction(offset: 26)) {
      _ = try Filter.ethernet.ipv4.from(IPv4Address(10, 0, 0, 1)).from(IPv4Address(10, 0, 0, 2)).filter
    }
    // A word over a half-word.
    #expect(throws: FilterError.contradiction(offset: 13)) {
      _ = try Filter.ethernet.ipv4.filter.and(offset: 10, width: 4, mask: 0xff, equals: 6)
    }
    #expect(throws: FilterError.badField(offset: 3, width: 3)) {
      _ = try Filter.everything.and(offset: 3, width: 3, equals: 0)
    }
    #expect(throws: FilterError.badField(offset: -1, width: 1)) {
      _ = try Filter.everything.and(offset: -1, width: 1, equals: 0)
    }
    #expect(throws: FilterError.tooLong(steps: 33)) {
      _ = try Filter((0..<33).map { .compare(FilterField(offset: $0, width: 1, mask: 1), 0) })
    }
  }

  // --- overlap

  @Test func overlapIsNeverDeniedWhereAPacketMatchesBoth() {
    var maker = PacketMaker(seed: 1)
    var (both, denied) = (0, 0)
    for _ in 0..<3000 {
      let (one, two) = (maker.filter(), maker.filter())
      let claims = one.overlaps(two)
      #expect(claims == two.overlaps(one))
      if !claims { denied += 1 }
      for _ in 0..<30 {
        let packet = maker.packet()
        guard hits(one, packet), hits(two, packet) else { continue }
        both += 1
        if !claims { Issue.record("\(one) and \(two)") }
      }
    }
    // The test saw something of either kind.
    #expect(both > 100 && denied > 100)
  }

  /// For filters at constant offsets the answer is exact: where it says so, there is a packet, and here it is.
  @Test func overlapIsExactAtConstantOffsets() throws {
    var maker = PacketMaker(seed: 2)
    var overlapping = 0
    for _ in 0..<5000 {
      func constant() -> Filter {
        while true {
          let filter = maker.filter()
          if filter.segments.count == 1 { return filter }
        }
      }
      let (one, two) = (constant(), constant())
      guard one.overlaps(two) else { continue }
      overlapping += 1
      var packet = [UInt8](repeating: 0xa5, count: 128)
      for filter in [one, two] {
        for case .compare(let field, let value) in filter.steps {
          for (offset, byte) in ByteCondition.each(field.offset, field.width, field.mask, value) {
            packet[offset] = packet[offset] & ~byte.mask | byte.value
          }
        }
      }
      #expect(hits(one, packet) && hits(two, packet))
    }
    #expect(overlapping > 100)
  }

  // --- the merged structure

  @Test func theMostSpecificWinsThenTheFirst() throws {
    let classifier = Classifier()
    let all = try classifier.insert(.everything)
    let ip = try classifier.insert(Filter.ethernet.ipv4.filter)
    let net = try classifier.insert(Filter.ethernet.ipv4.to(IPv4Address(10, 0, 0, 0), prefix: 8).filter)
    let host = try classifier.insert(Filter.ethernet.ipv4.to(IPv4Address(10, 0, 0, 1)).filter)
    let again = try classifier.insert(Filter.ethernet.ipv4.to(IPv4Address(10, 0, 0, 1)).filter)
    var packet = [UInt8](repeating: 0, count: 12) + [8, 0, 0x45] + [UInt8](repeating: 0, count: 19)
    func winner() -> FilterID? {
      #expect(classifier.classify(packet) == classifier.interpret(packet))
      return classifier.classify(packet)
    }
    #expect(winner() == ip)
    packet[30] = 10
    #expect(winner() == net)
    packet[33] = 1
    #expect(winner() == host)
    classifier.remove(host)
    #expect(winner() == again)
    classifier.remove(again)
    #expect(winner() == net)
    let isThere = classifier.remove(again)
    #expect(!isThere)
    classifier.remove(net)
    classifier.remove(ip)
    #expect(winner() == all)
    classifier.remove(all)
    #expect(winner() == nil)
    let left = classifier.count
    #expect(left == 0)
  }

  /// Filters come and go while packets arrive; three ways to answer, one answer. Each packet ends where memory does.
  /// `EXO_FUZZ_PACKETS` makes it long.
  @Test(arguments: 1...6) func definitionInterpreterAndCodeAgree(seed: Int) throws {
    var maker = PacketMaker(seed: UInt64(seed) << 32)
    let classifier = Classifier()
    #expect(classifier.isCompiled)
    let edge = EdgeOfMemory()
    var installed: [(id: FilterID, filter: Filter)] = []
    var hits = 0
    let rounds = KernelRun.packets(15_000) / 25
    for round in 0..<rounds {
      // Up to some hundred, then fewer.
      if installed.isEmpty || maker.chance(round % 600 < 300 ? 70 : 40) {
        let filter = maker.filter()
        guard let id = try? classifier.insert(filter) else { continue }
        installed.append((id, filter))
      } else {
        let (id, _) = installed.remove(at: Int.random(in: 0..<installed.count, using: &maker.random))
        let removed = classifier.remove(id)
        #expect(removed)
      }
      let packets = (0..<25).map { _ in maker.packet() }
      let expected = packets.map { best(installed, $0) }
      guard classifier.classify(together: packets) == expected else {
        Issue.record("round \(round): a batch")
        return
      }
      for (packet, expected) in zip(packets, expected) {
        let (interpreted, compiled) = edge.withPacket(packet) {
          (classifier.interpret($0), classifier.classify($0))
        }
        guard interpreted == expected, compiled == expected else {
          Issue.record(
            "round \(round): \(packet) belongs to \(String(describing: expected)), interpreted \(String(describing: interpreted)), compiled \(String(describing: compiled))"
          )
          return
        }
        if expected != nil { hits += 1 }
      }
    }
    #expect(hits > 1000)
    for (id, _) in installed { classifier.remove(id) }
    let last = edge.withPacket(maker.packet()) { classifier.classify($0) }
    #expect(last == nil)
  }

  @Test func everyLengthOfEveryPacketStaysWithinIt() throws {
    var maker = PacketMaker(seed: 77)
    let classifier = Classifier()
    var installed: [(id: FilterID, filter: Filter)] = []
    for _ in 0..<200 {
      let filter = maker.filter()
      if let id = try? classifier.insert(filter) { installed.append((id, filter)) }
    }
    let edge = EdgeOfMemory()
    for _ in 0..<60 {
      let whole = maker.packet()
      for length in 0...whole.count {
        let packet = Array(whole[..<length])
        let found = edge.withPacket(packet) { classifier.classify($0) }
        #expect(found == best(installed, packet))
      }
    }
  }

  @Test func theStructureDependsOnWhatIsInItAlone() throws {
    var maker = PacketMaker(seed: 5)
    var trie = FilterTrie()
    var all: [(Filter, FilterID)] = []
    for number in 1...400 {
      let entry = (maker.filter(), FilterID(number: UInt32(number)))
      if (try? trie.insert(entry.0, entry.1)) != nil { all.append(entry) }
    }
    for (filter, id) in all.shuffled(using: &maker.random) { #expect(trie.remove(filter, id) != nil) }
    #expect(trie.nodes[FilterTrie.root].branches.isEmpty)
    #expect(trie.remove(all[0].0, all[0].1) == nil)
    // Prefixes are shared: ten thousand ports are one node more each.
    for port in 1...10_000 {
      _ = try trie.insert(
        Filter.ethernet.ipv4.tcp(destinationPort: UInt16(port)), FilterID(number: UInt32(port)))
    }
    #expect(trie.nodes.count < 11_000)
  }

  @Test func branchesAtOnePlaceAreBounded() throws {
    let classifier = Classifier()
    var refused = 0
    for offset in 0..<200 {
      do throws(FilterError) {
        _ = try classifier.insert(try Filter.everything.and(offset: offset, width: 1, equals: 1))
      } catch {
        #expect(error == .tooComplex)
        refused += 1
      }
    }
    let count = classifier.count
    #expect(count == FilterTrie.branchLimit)
    #expect(refused == 200 - FilterTrie.branchLimit)
    let packet = [UInt8](repeating: 1, count: 300)
    #expect(classifier.classify(packet) == classifier.interpret(packet))
  }

  // --- the code

  /// Comparisons that are made together say the same as one by one, and read nothing past the end.
  @Test func comparisonsMadeTogether() {
    var maker = PacketMaker(seed: 12)
    var (wide, kept, broken) = (0, 0, 0)
    for _ in 0..<20_000 {
      let known = Int.random(in: 1...48, using: &maker.random)
      let packet = (0..<known).map { _ in UInt8.random(in: 0...255, using: &maker.random) }
      var conditions: [Int: ByteCondition] = [:]
      for _ in 0..<Int.random(in: 1...8, using: &maker.random) {
        let offset = Int.random(in: 0..<known, using: &maker.random)
        let mask: UInt8 = maker.chance(60) ? 0xff : UInt8.random(in: 0...255, using: &maker.random)
        conditions[offset] = ByteCondition(mask: mask, value: packet[offset] & mask)
      }
      // One of them may not hold.
      if maker.chance(50), let offset = conditions.keys.min() { conditions[offset]?.value ^= 0x10 }
      let holds = conditions.allSatisfy { packet[$0] & $1.mask == $1.value & $1.mask }
      let comparisons = FilterComparison.covering(conditions, known: known)
      let together = comparisons.allSatisfy { comparison in
        switch comparison {
        case .number(let offset, let width, let mask, let value):
          return (0..<width).allSatisfy {
            (packet[offset + $0] ^ UInt8(truncatingIfNeeded: value >> UInt32($0 * 8)))
              & UInt8(truncatingIfNeeded: mask >> UInt32($0 * 8)) == 0
          }
        case .wide(let offset, let mask, let value):
          wide += 1
          return (0..<16).allSatisfy { (packet[offset + $0] ^ value[$0]) & mask[$0] == 0 }
        }
      }
      guard together == holds else {
        Issue.record("\(conditions) of \(known) bytes: \(comparisons)")
        return
      }
      if holds { kept += 1 } else { broken += 1 }
    }
    #expect(wide > 1000 && kept > 1000 && broken > 1000)
    // Type, fragment, protocol and address: two comparisons.
    let web = [12: 8, 13: 0, 20: 0, 21: 0, 23: 6, 30: 10, 31: 0, 32: 0, 33: 1].mapValues {
      ByteCondition(mask: 0xff, value: $0)
    }
    #expect(FilterComparison.covering(web, known: 38).count == 2)
  }

  /// Tables that grow, shrink and are full of holes, and an arena that is too small for them at first.
  @Test func manyValuesComeAndGo() throws {
    var maker = PacketMaker(seed: 9)
    let compiler = try #require(FilterCompiler(size: 4096))
    let classifier = Classifier(compiler)
    var installed: [UInt16: FilterID] = [:]
    var packet = [UInt8](repeating: 0, count: 12) + [8, 0, 0x45] + [UInt8](repeating: 0, count: 23)
    packet[23] = 17
    for _ in 0..<20_000 {
      let port = UInt16.random(in: 0..<4000, using: &maker.random)
      if let id = installed.removeValue(forKey: port) {
        let removed = classifier.remove(id)
        #expect(removed)
      } else {
        let filter = try Filter.ethernet.ipv4.udp(sourcePort: port < 100 ? port : nil, destinationPort: port)
        installed[port] = try classifier.insert(filter)
      }
    }
    for port in 0..<UInt16(4000) {
      for place in [34, 36] {
        packet[place] = UInt8(port >> 8)
        packet[place + 1] = UInt8(port & 0xff)
      }
      #expect(classifier.classify(packet) == installed[port])
      #expect(classifier.interpret(packet) == installed[port])
    }
    #expect(classifier.isCompiled)
  }

  @Test func whatCannotBeCompiledIsInterpreted() throws {
    // No room at all: as if the host refused it.
    let compiler = try #require(FilterCompiler(size: 4096, limit: 8192))
    let classifier = Classifier(compiler)
    var ids: [FilterID] = []
    for host in 0..<500 {
      // A block each.
      ids.append(
        try classifier.insert(
          Filter.ethernet.ipv4.to(IPv4Address(bits: UInt32(host))).tcp(sourcePort: 1, destinationPort: 2)))
    }
    #expect(!classifier.isCompiled)
    var packet = [UInt8](repeating: 0, count: 12) + [8, 0, 0x45] + [UInt8](repeating: 0, count: 23)
    (packet[23], packet[33], packet[35], packet[37]) = (6, 99, 1, 2)
    #expect(classifier.classify(packet) == ids[99])
  }

  // --- against an implementation of somebody else's

  @Test(.requires(.libpcap)) func libpcapsInterpreterAgrees() throws {
    let pcap = try #require(LibPCAP())
    var maker = PacketMaker(seed: 4242)
    var (compared, matched) = (0, 0)
    for _ in 0..<KernelRun.packets(200_000) / 50 {
      let filter = maker.filter()
      guard let program = ClassicBPF.program(filter) else { continue }
      for _ in 0..<50 {
        let packet = maker.packet()
        let expected = hits(filter, packet)
        guard pcap.run(program, packet) == expected else {
          Issue.record("\(filter): \(packet)")
          return
        }
        compared += 1
        if expected { matched += 1 }
      }
    }
    #expect(compared > KernelRun.packets(200_000) / 4 && matched > 1000)
  }
}
