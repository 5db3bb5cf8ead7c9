import ExoABI
import Testing

@testable import Exo

/// The authority rule against a model in which authority is a plain set: one element for each object named and one
/// for each right to each object.
@Suite struct CapabilityDominanceTests {
  /// Every authority of a small universe: each kind, each run or object, each set of its rights.
  static let universe: [Authority] = {
    var resources: [Resource] = Run.all(below: 4).map { .frames($0) }
    for number: UInt32 in 0..<2 {
      resources += [.addressSpace(EnvironmentID(number)), .environment(EnvironmentID(number))]
      resources += [.gate(number), .event(number), .filter(number), .region(number)]
      resources += Run.all(below: 3).map { .slices(processor: number, $0) }
      resources += Run.all(below: 3).map { .extent(disk: number, $0) }
    }
    return resources.flatMap { resource in
      resource.kind.rights.subsets.map { Authority(resource, $0) }
    }
  }()

  private struct Element: Hashable {
    let kind: String
    let space: UInt32
    let object: UInt64
    /// A bit of the rights, or `nil` for naming the object at all.
    let right: UInt32?
  }

  private func elements(_ authority: Authority) -> Set<Element> {
    let kind: String
    let space: UInt32
    let objects: [UInt64]
    switch authority.resource {
    case .frames(let run): (kind, space, objects) = ("frames", 0, (run.first..<run.end).map(UInt64.init))
    case .addressSpace(let of): (kind, space, objects) = ("address space", 0, [UInt64(of.number)])
    case .environment(let of): (kind, space, objects) = ("environment", 0, [UInt64(of.number)])
    case .gate(let number): (kind, space, objects) = ("gate", 0, [UInt64(number)])
    case .event(let number): (kind, space, objects) = ("event", 0, [UInt64(number)])
    case .filter(let number): (kind, space, objects) = ("filter", 0, [UInt64(number)])
    case .transmit(let number): (kind, space, objects) = ("template", 0, [UInt64(number)])
    case .region(let number): (kind, space, objects) = ("region", 0, [UInt64(number)])
    case .slices(let on, let run):
      (kind, space, objects) = ("slices", on, (run.first..<run.end).map(UInt64.init))
    case .extent(let on, let run): (kind, space, objects) = ("extent", on, Array(run.first..<run.end))
    }
    let rights: [UInt32?] = [nil] + (0..<32).filter { authority.rights.rawValue >> $0 & 1 != 0 }
    return Set(
      objects.flatMap { object in
        rights.map { Element(kind: kind, space: space, object: object, right: $0) }
      })
  }

  @Test func agreesWithTheModelOnEveryPair() {
    let all = Self.universe
    let sets = all.map(elements)
    #expect(all.count == 432)
    var wrong: [String] = []
    for (holder, held) in zip(all, sets) {
      for (wanted, needed) in zip(all, sets) where dominates(holder, wanted) != needed.isSubset(of: held) {
        wrong.append("\(holder) over \(wanted)")
      }
    }
    #expect(wrong.isEmpty)
  }

  @Test func isAPartialOrder() {
    let all = Self.universe
    // Row by row, which authorities each dominates.
    let rows = all.map { holder in Set(all.indices.filter { dominates(holder, all[$0]) }) }
    for (a, row) in rows.enumerated() {
      #expect(row.contains(a), "\(all[a]) does not dominate itself")
      for b in row {
        if rows[b].contains(a) { #expect(all[a] == all[b], "each dominates the other") }
        if !rows[b].isSubset(of: row) {
          Issue.record("\(all[a]) over \(all[b]), not over all that it is over")
        }
      }
    }
  }

  @Test func comparesEveryRight() {
    let every = UInt32(1 << 9)
    for holder in 0..<every {
      for wanted in 0..<every {
        let answer = dominates(
          Authority(.gate(1), CapabilityRights(rawValue: holder)),
          Authority(.gate(1), CapabilityRights(rawValue: wanted)))
        if answer != (wanted & ~holder == 0) { Issue.record("\(holder) over \(wanted)") }
      }
    }
  }

  @Test func overlapsAgreesWithTheModel() {
    let resources = Array(Set(Self.universe.map(\.resource)))
    let sets = resources.map { elements(Authority($0, [])) }
    for (a, mine) in zip(resources, sets) {
      for (b, theirs) in zip(resources, sets) {
        #expect(a.overlaps(b) == !mine.isDisjoint(with: theirs), "\(a), \(b)")
      }
    }
  }

  @Test func refusesRunsThatAreEmptyOrPassTheEnd() {
    #expect(Run<UInt32>(first: 5, count: 0) == nil)
    #expect(Run<UInt32>(first: .max, count: 1) == nil)
    #expect(Run<UInt32>(first: 2, count: .max) == nil)
    #expect(Run<UInt64>(first: .max, count: .max) == nil)
    #expect(Run<UInt32>(first: .max - 1, count: 1)?.end == .max)
    #expect(Run<UInt64>(first: 0, count: .max)?.count == .max)
    #expect(Resource.frames(Frame(1), count: .max) == nil)
  }

  @Test func sharesTheLowBitsWithTheRightsOfMappings() {
    #expect(CapabilityRights(.all) == [.read, .write, .execute])
    #expect(CapabilityRights([.read, .execute]).rawValue == UInt32(EXO_READ | EXO_EXECUTE))
    #expect(CapabilityRights.everyMemoryRight.memory == .all)
    #expect(CapabilityRights([.write, .grant]).memory == .write)
    #expect("\(CapabilityRights.everyMemoryRight)" == "rwxg")
    #expect("\(CapabilityRights([.control, .inspect, .call, .signal, .deliver]))" == "ciksd")
    #expect("\(CapabilityRights())" == "-")
  }
}
