import Testing

@testable import ExosProcessHost
@testable import ExosShellHost

@Suite struct ShellParserTests {
  private func parse(_ line: String) throws -> [ShellJob] {
    try ShellParser.parse(line) { ["NAME": "value", "?": "3", "TWO": "a b"][$0] }
  }
  private func words(_ line: String) throws -> [[String]] {
    try parse(line).flatMap { $0.commands.map { $0.words } }
  }

  @Test func wordsAndQuotes() throws {
    #expect(try words("a  b\tc # rest") == [["a", "b", "c"]])
    #expect(
      try words(#"a 'b  $NAME' "c $NAME" \$d e\ f "" ''"#) == [
        ["a", "b  $NAME", "c value", "$d", "e f", "", ""]
      ])
    #expect(try words("$NAME$? $NONE x$NONE $ $TWO") == [["value3", "x", "$", "a b"]])
    #expect(try words("a#b") == [["a#b"]])
    #expect(try words("") == [])
  }

  @Test func pipesAndFiles() throws {
    let jobs = try parse("a <in|b x>>out&c>o&&d||e;f")
    #expect(jobs.count == 5)
    #expect(jobs[0].commands.map { $0.words } == [["a"], ["b", "x"]])
    #expect(
      jobs[0].commands[0].input == "in" && jobs[0].commands[1].output == "out" && jobs[0].commands[1].appends)
    #expect(jobs[0].isBackground && !jobs[1].isBackground)
    #expect(jobs.map { $0.condition } == [.always, .always, .ifSucceeded, .ifFailed, .always])
    #expect(jobs[1].commands[0].output == "o")
  }

  @Test func errorsGoWhereTheyAreSent() throws {
    let commands = try parse("a 2>e | b 2>>f >o | c 2>&1 | d 2 >x | e '2'>y | f2>z").flatMap { $0.commands }
    #expect(commands.map { $0.errors } == ["e", "f", nil, nil, nil, nil])
    #expect(commands.map { $0.appendsErrors } == [false, true, false, false, false, false])
    #expect(commands.map { $0.errorsToOutput } == [false, false, true, false, false, false])
    #expect(commands.map { $0.words } == [["a"], ["b"], ["c"], ["d", "2"], ["e", "2"], ["f2"]])
    #expect(commands.map { $0.output } == [nil, "o", nil, "x", "y", "z"])
    #expect(throws: ShellSyntaxError.redirectedTwice) { try parse("a 2>b 2>&1") }
    #expect(throws: ShellSyntaxError.missingFile) { try parse("a 2>") }
  }

  @Test(arguments: [
    ("a |", ShellSyntaxError.missingCommand), ("| a", .missingCommand), ("a >", .missingFile),
    ("a > | b", .missingFile),
    ("'a", .unfinishedQuote), ("\"a", .unfinishedQuote), ("a > b > c", .redirectedTwice),
    ("a &&", .missingCommand),
    ("> b", .missingCommand), (";", .missingCommand), ("a || ; b", .missingCommand),
  ])
  func whatIsNoLine(_ line: String, _ error: ShellSyntaxError) {
    #expect(throws: error) { try parse(line) }
  }
}

@Suite struct LineEditorTests {
  /// Types into an editor; the lines entered.
  private func type(_ text: String, _ editor: inout LineEditor) -> [LineEditor.Outcome] {
    var outcomes: [LineEditor.Outcome] = []
    var out: [UInt8] = []
    for byte in text.utf8 {
      let outcome = editor.type(byte, &out)
      if outcome != .editing {
        outcomes.append(outcome)
        _ = editor.begin()
      }
    }
    return outcomes
  }
  private func line(_ text: String) -> LineEditor.Outcome? {
    var editor = LineEditor(prompt: "$ ")
    _ = editor.begin()
    return type(text + "\r", &editor).last
  }

  @Test(arguments: [
    ("abc", "abc"), ("abd\u{7f}c", "abc"), ("bc\u{1}a", "abc"), ("ac\u{1b}[Db", "abc"),
    ("xabc\u{1}\u{4}", "abc"),
    ("abcx\u{1b}[D\u{b}", "abc"), ("junk\u{15}abc", "abc"), ("abc def\u{17}\u{17}abc", "abc"),
    ("bc\u{1b}[Ha", "abc"),
    ("ab\u{1b}[H\u{1b}[Fc", "abc"), ("abxc\u{1b}[D\u{1b}[D\u{1b}[3~", "abc"), ("ä\u{7f}abc", "abc"),
    ("äb\u{2}\u{2}\u{4}ä", "äb"),
    ("a\u{1b}xbc\u{1b}[15~", "abc"), ("\u{2}\u{2}\u{7f}abc\u{6}", "abc"),
  ])
  func keysEdit(_ typed: String, _ result: String) { #expect(line(typed) == .line(result)) }

  @Test func historyGoesBackAndForth() {
    var editor = LineEditor(prompt: "$ ")
    _ = editor.begin()
    _ = type("one\rtwo\rtwo\r\r", &editor)
    #expect(editor.history == ["one", "two"])
    #expect(type("\u{1b}[A\u{1b}[A\r", &editor) == [.line("one")])
    #expect(type("dr\u{10}\u{10}\u{10}\u{10}\u{e}\u{e}\u{e}aft\r", &editor) == [.line("draft")])
    #expect(type("\u{10}\u{10}!\r", &editor) == [.line("one!")])
  }

  @Test func theLineIsGivenUpAndTheInputEnds() {
    var editor = LineEditor(prompt: "$ ")
    _ = editor.begin()
    #expect(type("abc\u{3}\u{4}", &editor) == [.interrupted, .end])
    #expect(type("\u{1a}", &editor) == [.stopped])
  }

  @Test func theScreenShowsTheLine() {
    var editor = LineEditor(prompt: "$ ")
    #expect(editor.begin() == Array("$ ".utf8))
    var out: [UInt8] = []
    for byte in "ac".utf8 { _ = editor.type(byte, &out) }
    #expect(out == Array("ac".utf8))
    out = []
    _ = editor.type(0x02, &out)
    #expect(out == Array("\r$ ac\u{1b}[K\u{1b}[1D".utf8))
  }
}

@Suite struct ProcessRecordTests {
  /// The record as its process finds it.
  private func view(_ record: ProcessRecord, _ body: (ProcessRecord.View) throws -> Void) throws {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 65536, alignment: 4096)
    defer { memory.deallocate() }
    let bytes = try #require(record.encoded(at: UInt64(UInt(bitPattern: memory))))
    bytes.withUnsafeBytes { memory.copyMemory(from: $0.baseAddress!, byteCount: bytes.count) }
    try body(try #require(ProcessRecord.View(at: UInt64(UInt(bitPattern: memory)))))
  }

  @Test func everythingComesBack() throws {
    var record = ProcessRecord(arguments: ["a", "", "c d"])
    record.variables = ["X=1", "Y=two"]
    record.input = .pipe(address: 1, capacity: 2, peer: 3)
    record.output = .console
    record.capabilities = [("first", 7), ("second", 9)]
    record.takesSignals = true
    record.errors = .file(path: "/e", appends: true)
    record.files = (5, 6)
    try view(record) { view in
      #expect(view.argumentCount == 3 && view.variableCount == 2 && view.takesSignals)
      #expect(view.input == record.input && view.output == .console && view.files == (5, 6))
      #expect(view.capability(named: "second") == 9 && view.capability(named: "first") == 7)
      #expect(view.capability(named: "third") == nil)
      #expect(view.errors == record.errors)
    }
    record.errors = nil
    try view(record) { #expect($0.errors == nil && $0.capability(named: "second") == 9) }
  }

  @Test func whatCannotBeToldIsRefused() {
    #expect(ProcessRecord(arguments: ["a\0b"]).encoded() == nil)
    #expect(ProcessRecord(arguments: [String(repeating: "x", count: 70_000)]).encoded() == nil)
  }
}
