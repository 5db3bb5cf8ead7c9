/// tcpdump's filter language, for what of it is a filter of ours. libpcap compiles an expression to the classic packet machine's code
/// (McCanne and Jacobson, "The BSD Packet Filter", USENIX Winter 1993); every way through that code to acceptance that is a
/// conjunction of comparisons becomes a filter, and the expression is all of them together.
extension Filter {
  /// The filters whose union is an expression, for Ethernet.
  ///
  ///     try Filter.matching("tcp dst port 80 and host 10.0.0.1")
  public static func matching(_ expression: String) throws(ExpressionError) -> [Filter] {
    try PacketProgram(try PacketLibrary.compile(expression)).filters(of: expression)
  }
}

/// Why an expression cannot be made into filters.
public enum ExpressionError: Error, Hashable, Sendable, CustomStringConvertible {
  /// libpcap is not installed.
  case noCompiler
  /// It refused the expression, for this reason.
  case syntax(String)
  /// It is no union of conjunctions of masked comparisons: `what` is not.
  case notAFilter(expression: String, what: String)
  case tooLarge(expression: String)

  public var description: String {
    switch self {
    case .noCompiler:
      "tcpdump expressions need libpcap, which is not installed: sudo apt-get install -y libpcap0.8"
    case .syntax(let reason): reason
    case .notAFilter(let expression, let what):
      "`\(expression)` cannot be claimed: \(what), and a filter only asks for the values of bits"
    case .tooLarge(let expression): "`\(expression)` is too many filters"
    }
  }
}

/// A program of the classic packet machine, as libpcap compiles it.
struct PacketProgram {
  struct Instruction: Hashable {
    var code: UInt16
    var whenTrue: UInt8
    var whenFalse: UInt8
    var k: UInt32
  }
  let code: [Instruction]
  init(_ code: [Instruction]) { self.code = code }

  /// Ways to acceptance that are followed at most; an expression with more is refused.
  static let wayLimit = 256

  /// What a register holds, as far as it matters.
  private enum Value: Hashable {
    case unknown
    case field(indexed: Bool, FilterField)
    /// Four times the low half of the byte at an offset: the length of an IPv4 header.
    case headerLength(Int)
  }
  /// A test that was made on the way: the field, under its mask, was this value, or was not.
  fileprivate struct Condition: Hashable {
    var indexed: Bool
    var field: FilterField
    var value: UInt32
    /// Whether all the bits are as in `value`, or not all of them.
    var holds: Bool
  }
  private struct Way {
    var place = 0
    var a = Value.unknown
    var x = Value.unknown
    var index: Int?
    var conditions: [Condition] = []
  }
  private struct Refusal: Error { let what: String }

  /// The filters that accept what the program accepts.
  func filters(of expression: String) throws(ExpressionError) -> [Filter] {
    do {
      return try Self.union(try accepting())
    } catch let refusal as Refusal {
      throw .notAFilter(expression: expression, what: refusal.what)
    } catch {
      throw .tooLarge(expression: expression)
    }
  }
  private struct TooMany: Error {}

  /// Every way to acceptance. Jumps of this machine only go forward, so there is an end to it.
  private func accepting() throws -> [Way] {
    var pending = [Way()]
    var accepted: [Way] = []
    var followed = 0
    while var way = pending.popLast() {
      followed += 1
      guard followed <= Self.wayLimit * 16, accepted.count <= Self.wayLimit else { throw TooMany() }
      walk: while true {
        guard code.indices.contains(way.place) else { throw Refusal(what: "its code has no end") }
        let instruction = code[way.place]
        let k = instruction.k
        way.place += 1
        switch instruction.code {
        case 0x20, 0x28, 0x30, 0x40, 0x48, 0x50: way.a = try load(instruction, way)
        case 0xb1:
          way.x = .headerLength(Int(k))
          guard way.index == nil || way.index == Int(k) else {
            throw Refusal(what: "it counts from two places")
          }
          way.index = Int(k)
        case 0x54:
          guard case .field(let indexed, var field) = way.a else { throw Refusal(what: "it computes") }
          field.mask &= k
          way.a = .field(indexed: indexed, field)
        case 0x05: way.place += Int(k)
        case 0x15, 0x45:
          guard case .field(let indexed, var field) = way.a else {
            throw Refusal(what: "it compares what it computed")
          }
          var condition = Condition(indexed: indexed, field: field, value: k, holds: true)
          if instruction.code == 0x45 {
            // Some of these bits are set: for one bit that is a value, for several it is the other answer that is.
            field.mask &= k
            condition = Condition(indexed: indexed, field: field, value: 0, holds: false)
          } else if k & ~field.mask != 0 {
            // Never equal.
            way.place += Int(instruction.whenFalse)
            continue walk
          }
          var other = way
          other.conditions.append(condition.negated)
          other.place += Int(instruction.whenFalse)
          pending.append(other)
          way.conditions.append(condition)
          way.place += Int(instruction.whenTrue)
        case 0x25, 0x35: throw Refusal(what: "it asks for a range")
        case 0x06:
          if k > 0 { accepted.append(way) }
          break walk
        default: throw Refusal(what: "it computes (instruction 0x\(String(instruction.code, radix: 16)))")
        }
      }
    }
    return accepted
  }

  private func load(_ instruction: Instruction, _ way: Way) throws(Refusal) -> Value {
    let width = [0x00: 4, 0x08: 2, 0x10: 1][Int(instruction.code & 0x18)] ?? 4
    let mask: UInt32 = width == 4 ? .max : UInt32(1) << UInt32(width * 8) - 1
    guard instruction.k <= 65_535 else { throw Refusal(what: "it asks for what is not in the packet") }
    let field = FilterField(offset: Int(instruction.k), width: width, mask: mask)
    guard instruction.code & 0xe0 == 0x40 else { return .field(indexed: false, field) }
    guard case .headerLength = way.x else { throw Refusal(what: "it counts from a place it computed") }
    return .field(indexed: true, field)
  }

  // --- ways as filters

  /// A way's conditions that ask for values, as a filter, and those that ask for other values than one.
  private static func split(_ way: Way) throws(Refusal) -> (filter: Filter?, negative: [Condition]) {
    let positive = way.conditions.filter(\.isValue)
    guard let filter = filter(positive, index: way.index) else { return (nil, []) }
    var negative: [Condition] = []
    for condition in way.conditions where !condition.isValue {
      // With the opposite, could there be a packet? If not, it says nothing new; if it must be so, there is no packet.
      guard Self.filter(positive + [condition.asValue], index: way.index) != nil else { continue }
      if Self.isImplied(condition.asValue, by: positive) { return (nil, []) }
      negative.append(condition)
    }
    return (filter, negative)
  }

  private static func isImplied(_ condition: Condition, by positive: [Condition]) -> Bool {
    var mask: UInt32 = 0
    for other in positive
    where other.indexed == condition.indexed && other.field.offset == condition.field.offset
      && other.field.width == condition.field.width
    {
      mask |= other.field.mask
    }
    return condition.field.mask & ~mask == 0
  }

  /// Nil if the conditions exclude each other.
  private static func filter(_ conditions: [Condition], index: Int?) -> Filter? {
    func steps(_ indexed: Bool) -> [Filter.Step] {
      conditions.filter { $0.indexed == indexed }.map { .compare($0.asValue.field, $0.asValue.value) }
    }
    var all = steps(false)
    let further = steps(true)
    if let index, !further.isEmpty {
      all += [.advance(.headerLength(offset: index, mask: 0x0f, shift: 2))] + further
    }
    return try? Filter(all)
  }

  /// What asks for another value than one may be left out if what it excludes is accepted all the same, by another way.
  private static func union(_ ways: [Way]) throws -> [Filter] {
    var known: [Filter] = []
    var open: [(way: Way, filter: Filter, negative: [Condition])] = []
    for way in ways {
      let (filter, negative) = try split(way)
      guard let filter else { continue }
      if negative.isEmpty { known.append(filter) } else { open.append((way, filter, negative)) }
    }
    while !open.isEmpty {
      let before = open.count
      open.removeAll { way, filter, negative in
        let covered = negative.allSatisfy { condition in
          guard
            let excluded = Self.filter(
              way.conditions.filter(\.isValue) + [condition.asValue], index: way.index)
          else { return true }
          return known.contains { excluded.implies($0) }
        }
        if covered { known.append(filter) }
        return covered
      }
      if open.count == before { throw Refusal(what: "it asks for what is not there (`not`, or a range)") }
    }
    // One that another contains says nothing more.
    var kept: [Filter] = []
    for filter in known where !kept.contains(where: { filter.implies($0) }) {
      kept.removeAll { $0.implies(filter) }
      kept.append(filter)
    }
    guard kept.count <= wayLimit else { throw TooMany() }
    return kept
  }
}

extension PacketProgram.Condition {
  /// Whether it asks for the values of bits: the bit that is not clear is set.
  fileprivate var isValue: Bool { holds || field.mask.nonzeroBitCount == 1 }
  /// For one that does, what it asks for; for another, what it excludes.
  fileprivate var asValue: Self {
    var result = self
    result.holds = true
    if !holds, field.mask.nonzeroBitCount == 1 { result.value = ~value & field.mask }
    return result
  }
  fileprivate var negated: Self {
    var result = self
    result.holds.toggle()
    return result
  }
}

extension Filter {
  /// Whether every packet that matches this one matches the other: everything the other asks for is asked for here.
  func implies(_ other: Filter) -> Bool {
    let mine = segments
    for (index, segment) in other.segments.enumerated() {
      guard index < mine.count, mine[index].arrival == segment.arrival else { return false }
      for (field, value) in segment.comparisons {
        for (offset, byte) in ByteCondition.each(field.offset, field.width, field.mask, value) {
          guard mine[index].condition(at: offset).covers(byte) else { return false }
        }
      }
    }
    return true
  }
}

extension Filter.Segment {
  fileprivate func condition(at offset: Int) -> ByteCondition {
    var result = ByteCondition(mask: 0, value: 0)
    for (field, value) in comparisons {
      for (place, byte) in ByteCondition.each(field.offset, field.width, field.mask, value)
      where place == offset {
        result = byte.and(result)
      }
    }
    return result
  }
}

extension ByteCondition {
  /// Whether it asks for everything that another does.
  fileprivate func covers(_ other: ByteCondition) -> Bool {
    mask & other.mask == other.mask && (value ^ other.value) & other.mask == 0
  }
}
