import ExoABI
import Testing

@testable import Exo

@Suite struct RuleTests {
  typealias Op = Rule.Operation
  static func code(_ op: Op, _ d: UInt8 = 0, _ a: UInt8 = 0, _ b: UInt8 = 0, _ i: Int32 = 0) -> [UInt8] {
    let u = UInt32(bitPattern: i)
    return [op.rawValue, d, a, b] + (0..<4).map { UInt8(truncatingIfNeeded: u >> ($0 * 8)) }
  }

  /// Allows the maker everything and others only reads.
  static let readOnlyForOthers =
    code(.input, 0, 0) + code(.input, 1, 3) + code(.input, 2, 4) + code(.equal, 3, 1, 2)
    + code(.constant, 4, 0, 0, 0) + code(.equal, 5, 0, 4) + code(.or, 6, 3, 5) + code(.result, 0, 6)

  @Test func operationsCompute() throws {
    let cases: [(Op, UInt64)] = [
      (.add, 15), (.subtract, 9), (.and, 0), (.or, 15), (.xor, 15), (.shiftLeft, 96), (.shiftRight, 1),
      (.equal, 0), (.less, 0),
    ]
    for (operation, expected) in cases {
      let rule = try Rule(
        Self.code(.input, 0, 0) + Self.code(.input, 1, 1) + Self.code(operation, 2, 0, 1)
          + Self.code(.result, 0, 2),
        inputs: 2)
      #expect(rule.evaluate(inputs: [12, 3]) { _ in nil } == expected, "\(operation)")
    }
  }

  @Test func skipsForwardOnly() throws {
    let rule = try Rule(
      Self.code(.input, 0, 0) + Self.code(.constant, 1, 0, 0, 7) + Self.code(.skipIfZero, 0, 0, 0, 1)
        + Self.code(.constant, 1, 0, 0, 9) + Self.code(.result, 0, 1), inputs: 1)
    #expect(rule.evaluate(inputs: [0]) { _ in nil } == 7)
    #expect(rule.evaluate(inputs: [1]) { _ in nil } == 9)
    for distance: Int32 in [0, -1, 1, .max, .min] {
      #expect(throws: RuleError.jump(index: 0, distance)) {
        try Rule(Self.code(.skipIfZero, 0, 0, 0, distance) + Self.code(.result), inputs: 0)
      }
    }
  }

  @Test func wordsOutsideTheWindowSayNo() throws {
    let rule = try Rule(Self.code(.word, 0, 0, 0, 8) + Self.code(.result), inputs: 0)
    #expect(rule.evaluate(inputs: []) { $0 == 8 ? 5 : nil } == 5)
    #expect(rule.evaluate(inputs: []) { _ in nil } == 0)
  }

  @Test func refusesWhatIsMalformed() {
    #expect(throws: RuleError.length(0)) { try Rule([], inputs: 0) }
    #expect(throws: RuleError.length(7)) { try Rule([UInt8](repeating: 0, count: 7), inputs: 0) }
    #expect(throws: RuleError.length(520)) { try Rule([UInt8](repeating: 0, count: 520), inputs: 0) }
    #expect(throws: RuleError.operation(index: 0, 200)) { try Rule([200, 0, 0, 0, 0, 0, 0, 0], inputs: 0) }
    #expect(throws: RuleError.register(index: 0)) {
      try Rule(Self.code(.add, 8) + Self.code(.result), inputs: 0)
    }
    #expect(throws: RuleError.input(index: 0, 2)) {
      try Rule(Self.code(.input, 0, 2) + Self.code(.result), inputs: 2)
    }
    #expect(throws: RuleError.noResult) { try Rule(Self.code(.constant), inputs: 0) }
  }

  /// Whatever bytes: refused, or an answer within 64 steps.
  @Test func anyBytesAreRefusedOrAnswered() {
    var random = SystemRandomNumberGenerator()
    var accepted = 0
    for _ in 0..<20_000 {
      var bytes = (0..<8 * Int.random(in: 1...8, using: &random)).map { _ in
        UInt8.random(in: 0...15, using: &random)
      }
      bytes[bytes.count - 8] = Op.result.rawValue
      guard let rule = try? Rule(bytes, inputs: 6) else { continue }
      accepted += 1
      _ = rule.evaluate(inputs: [1, 2, 3, 4, 5, 6]) { $0 >= 0 && $0 < 4096 ? UInt64($0) : nil }
    }
    #expect(accepted > 20)
  }

  @Test func regionsObeyTheirRule() throws {
    let maker = EnvironmentID(1)
    let other = EnvironmentID(2)
    var region = Region(size: 64, rule: try Rule(Self.readOnlyForOthers, inputs: Region.inputs), maker: maker)
    try region.write([1, 2, 3], at: 10, by: maker)
    #expect(try Array(region.read(10..<13, by: other)) == [1, 2, 3])
    #expect(throws: Refusal.notPermitted) { try region.write([9], at: 10, by: other) }
    #expect(try Array(region.read(10..<13, by: other)) == [1, 2, 3])
    #expect(throws: Refusal.outOfRange) { try region.read(60..<65, by: maker) }
    #expect(throws: Refusal.outOfRange) { try region.write([0, 0], at: 63, by: maker) }
  }
}
