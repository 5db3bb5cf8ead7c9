import TOML
import Testing

/// The reader of `up` files, without what they mean.
@Suite struct UpTOMLTests {
  private func problems(_ text: String) -> [String] { TOMLDocument(text).problems.map(\.description) }

  private func value(_ text: String, _ key: String = "a") -> String? {
    let document = TOMLDocument(text)
    guard document.problems.isEmpty, let entry = document.root[key] else { return nil }
    return Self.show(entry.value)
  }

  private static func show(_ value: TOMLValue) -> String {
    switch value {
    case .string(let text): text.debugDescription
    case .integer(let number): "\(number)"
    case .boolean(let truth): "\(truth)"
    case .array(let elements): "[" + elements.map { show($0.value) }.joined(separator: " ") + "]"
    case .table(let table): show(table)
    case .tables(let tables): tables.map(show).joined(separator: "+")
    }
  }
  private static func show(_ table: TOMLTable) -> String {
    "{" + table.entries.map { "\($0.key):\(show($0.value))" }.joined(separator: " ") + "}"
  }

  @Test(
    arguments: [
      (#"a = "x""#, #""x""#), (#"a = 'c:\n'"#, #""c:\\n""#),
      (#"a = "\t\"\\\u00e9\U0001F600""#, #""\t\"\\é😀""#),
      ("a = 0", "0"), ("a = -17", "-17"), ("a = +1_000", "1000"), ("a = 0xdead_BEEF", "3735928559"),
      ("a = 0o755", "493"), ("a = 0b1010", "10"), ("a = 9223372036854775807", "9223372036854775807"),
      ("a = true", "true"), ("a = false # comment", "false"), ("a = []", "[]"),
      ("a = [1, 'x', [true,],\n # comment\n 2 , ]", #"[1 "x" [true] 2]"#), ("a = {}", "{}"),
      ("a = { b = 1, c.d = 'e' }", #"{b:1 c:{d:"e"}}"#), ("a.b.c = 1\na.b.d = 2", "{b:{c:1 d:2}}"),
      ("[a]\nb = 1\n[a.c]\nd = 2", "{b:1 c:{d:2}}"), ("[a.b]\nc = 1\n[a]\nd = 2", "{b:{c:1} d:2}"),
      ("[[a]]\nb = 1\n[[a]]\n[a.c]\nd = 2", "{b:1}+{c:{d:2}}"), (#""a" = 1"#, "1"), ("a=1\r\n", "1"),
      ("\u{feff}a = 1", "1"), (" [ a . 'b c' ] # x\n d = 1", "{b c:{d:1}}"),
    ] as [(String, String)])
  func values(text: String, shown: String) { #expect(value(text) == shown) }

  @Test(
    arguments: [
      ("a = 1\na = 2", "line 2: `a` is set already, on line 1"),
      ("\n[a]\n[a]", "line 3: table `a` is there already, from line 2"),
      ("a = 1\n[a]", "line 2: `a` is an integer from line 1 and cannot be added to"),
      ("a = [1]\n[[a]]", "line 2: `a` is an array from line 1 and cannot be added to"),
      ("a = {}\n[a.b]", "line 2: `a` is a table from line 1 and cannot be added to"),
      ("a = {}\na.b = 1", "line 2: `a` is a table from line 1 and cannot be added to"),
      ("[a\n", "line 1: a table's header ends with ]"), ("[[a]\n", "line 1: a table's header ends with ]]"),
      ("[]", "line 1: a key was expected, not `]`"), ("= 1", "line 1: a key was expected, not `=`"),
      ("a 1", "line 1: a key is followed by = and a value"),
      ("a =", "line 1: a value was expected, not the end of the file"),
      ("a = # x", "line 1: a value was expected, not `#`"),
      ("a = x", "line 1: `x` is no value: a string stands in quotes"),
      ("a = 1.5", "line 1: `1.5`: only whole numbers are read here, anything else is a string"),
      ("a = 1979-05-27", "line 1: `1979-05-27`: only whole numbers are read here, anything else is a string"),
      ("a = 012", "line 1: `012`: a whole number does not begin with 0"),
      ("a = 1__0", "line 1: `1__0`: only whole numbers are read here, anything else is a string"),
      ("a = 0xg", "line 1: `0xg` is no whole number, and a string stands in quotes"),
      ("a = 9223372036854775808", "line 1: `9223372036854775808` is beyond 64 bits"),
      (#"a = "x"#, "line 1: a string without its closing \""),
      ("a = 'x", "line 1: a string without its closing '"),
      (#"a = "\q""#, "line 1: no escape begins with `q`"),
      (#"a = "\ud800""#, "line 1: there is no character U+D800"),
      (#"a = "\u12""#, "line 1: an escape of a character has 4 hexadecimal digits"),
      (
        "a = \"\"\"x\"\"\"",
        "line 1: strings of several lines are not read here: write \\n for the end of a line"
      ),
      ("a = \"\u{1}\"", "line 1: a control character in a string: write it as an escape"),
      ("# \u{1}", "line 1: a control character in a comment"),
      ("a = 1 2", "line 1: the line should end before `2`"),
      ("a = [1 2]", "line 1: between an array's elements a comma was expected, not `2`"),
      ("a = { b = 1", "line 1: in a table within { } a comma or } was expected, not the end of the file"),
    ] as [(String, String)])
  func mistakes(text: String, problem: String) { #expect(problems(text) == [problem]) }

  @Test func everyMistakeIsToldAndWhatIsRightIsKept() {
    let document = TOMLDocument(
      """
      a = 1
      b = oops
      list = [1,
        2
      c = 3
      more = [
        "x" "y",
        "z",
      ]
      d = "unfinished
      [[broken]
      e = 1
      e = 2
      [right]
      f = 4
      """)
    #expect(document.problems.map(\.line) == [2, 3, 7, 10, 11, 13])
    #expect(Self.show(document.root) == "{a:1 c:3 right:{f:4}}")
  }

  @Test func valuesWithinOneAnotherHaveALimit() {
    #expect(problems("a = " + String(repeating: "[", count: 100_000)).count == 1)
    #expect(problems("a = " + String(repeating: "{ b = ", count: 100_000)).count == 1)
    #expect(value("a = " + String(repeating: "[", count: 32) + String(repeating: "]", count: 32)) != nil)
  }

  @Test func bytesThatAreNoTextAreToldOnce() {
    let document = TOMLDocument(Array("a = 1\n".utf8) + [0x62, 0x3d, 0x27, 0xff, 0xfe, 0x27, 0x0a])
    #expect(document.problems.map(\.line) == [2])
  }

  /// Whatever it is given, reading ends, and its mistakes are on lines that there are.
  @Test func noInputIsTooMuch() {
    let seed = Array(
      """
      # comment
      [machine]
      memory = "64M"
      [[environment]]
      name = "a"
      list = [1, 'x', [true], { b = -0x1, "c\\u00e9".d = [ ] }]
      x.y.z = false
      [environment.variables]
      A = "b"
      """.utf8)
    let alphabet = Array("[]{}=.,\"'\\#\n\r\t abtrue019_-+xU\u{0}".utf8) + [0xff, 0xc3]
    var random = Numbers(state: 7)
    for _ in 0..<5000 {
      var bytes = seed
      for _ in 0...random.below(6) {
        let at = random.below(bytes.count + 1)
        switch random.below(4) {
        case 0: bytes.insert(alphabet[random.below(alphabet.count)], at: at)
        case 1 where at < bytes.count: bytes[at] = alphabet[random.below(alphabet.count)]
        case 2 where at < bytes.count: bytes.removeSubrange(at..<min(bytes.count, at + random.below(20)))
        default:
          let from = random.below(bytes.count + 1)
          bytes.insert(contentsOf: bytes[from..<min(bytes.count, from + random.below(30))], at: at)
        }
      }
      let document = TOMLDocument(bytes)
      let lines = bytes.count { $0 == 0x0a } + 1
      let told = document.problems.map(\.line)
      guard told.allSatisfy({ 1...lines ~= $0 }), told == told.sorted() else {
        Issue.record("lines \(told) of \(lines) in \(String(decoding: bytes, as: UTF8.self))")
        return
      }
    }
  }

  /// A small generator, so that a failure can be had again (splitmix64).
  private struct Numbers {
    var state: UInt64
    mutating func below(_ limit: Int) -> Int {
      state &+= 0x9e37_79b9_7f4a_7c15
      var mixed = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
      mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
      return Int((mixed ^ (mixed >> 31)) % UInt64(max(limit, 1)))
    }
  }
}
