import ExoABI
import Testing

@testable import Exo

@Suite struct SymbolizerTests {
  // MARK: A real image

  @Suite(
    .enabled(if: SymbolProgram.isExpected, "needs clang: put the Swift toolchain's bin directory on PATH"))
  struct RealImage {
    @Test(arguments: [4, 5]) func addressesHaveNamesAndLines(dwarf: Int) throws {
      let program = try SymbolProgram(dwarf: dwarf, abiVersion: UInt32(EXO_ABI_VERSION))
      let image = try GuestImage(name: "program", bytes: program.bytes)
      let symbolizer = Symbolizer(image: image)
      #expect(image.entry == (try program.address("_start")))

      let start = symbolizer.location(of: image.entry)
      #expect(start.function == "_start" && start.offset == 0 && start.line == 24)
      let add = symbolizer.location(of: try program.address("add"))
      #expect(add.function == "add" && add.offset == 0 && add.line == 9)

      let store = try program.address("store")
      let location = symbolizer.location(of: store)
      #expect(location.function == "fault")
      #expect(location.offset == store.value - (try program.address("fault")).value)
      #expect(location.offset > 0)
      #expect(location.fileName == "program.c" && location.line == 15)
      #expect(location.description == "fault + \(location.offset) at program.c:15")

    }

    @Test(arguments: [4, 5]) func inlinedCodeIsTracedToItsSource(dwarf: Int) throws {
      let program = try SymbolProgram(dwarf: dwarf)
      let address = try program.address("inlined")
      let symbolizer = Symbolizer(bytes: program.bytes)
      let location = symbolizer.location(of: address)
      #expect(location.function == "_start" && location.inlined == "deep" && location.line == 19)
      let scopes = try #require(ImageSections(program.bytes).flatMap(DebugInfo.init)?.scopes(of: address))
      #expect(scopes.inlined.map(\.name) == ["middle", "deep"])
      #expect(scopes.inlined.map(\.callLine) == [26, 22])
      #expect(symbolizer.location(of: try program.address("store")).inlined == nil)

      // The call before it is of line 25; after the call comes code of line 19.
      let caller = symbolizer.location(ofReturnAddress: address)
      #expect(caller.address == address && caller.line == 25 && caller.offset == location.offset)
    }

    @Test(arguments: [4, 5]) func trapsOfSwiftHaveTheirReasonAndLine(dwarf: Int) throws {
      let bytes = try SymbolProgram.swiftTrap(dwarf: dwarf)
      let sections = try #require(ImageSections(bytes))
      let code = try #require(sections.all.first { $0.isExecutable })
      let range = try #require(code.range)
      let trap = try #require(range.dropLast().first { bytes[$0] == 0x0f && bytes[$0 + 1] == 0x0b })
      let location = Symbolizer(bytes: bytes).location(
        of: GuestAddress(code.address + UInt64(trap - range.lowerBound)))
      // A C name for a Swift function is a function of its own, with the Swift one inside.
      #expect(
        location.description
          == "_start + \(location.offset) in inlined program.start(Swift.UnsafeMutablePointer<Swift.Int>)"
          + " at trap.swift:4: arithmetic overflow")
    }

    @Test func addressesOutsideCodeStayBare() throws {
      let program = try SymbolProgram(dwarf: 5)
      let symbolizer = Symbolizer(bytes: program.bytes)
      for value: UInt64 in [0, 0x400000, 0x7fff_0000_0000, .max] {
        let location = symbolizer.location(of: GuestAddress(value))
        #expect(location.function == nil && location.file == nil && location.line == nil)
        #expect(location.description == "0x" + String(value, radix: 16))
      }
    }

    @Test(arguments: [4, 5]) func noMutantCrashes(dwarf: Int) throws {
      let program = try SymbolProgram(dwarf: dwarf)
      let sections = try #require(ImageSections(program.bytes))
      var targets = [
        ".debug_line", ".debug_info", ".debug_abbrev", ".symtab", ".strtab", ".debug_ranges",
        ".debug_rnglists",
        ".debug_addr", ".debug_str_offsets", ".debug_line_str",
      ].compactMap { sections.range(named: $0) }
      targets.append(0..<64)
      targets.append(program.bytes.count - 64 * sections.all.count..<program.bytes.count)
      let addresses = Array(program.addresses.values)
      var mutator = Mutator(random: SeededGenerator(seed: UInt64(dwarf)))
      var changed = 0
      let intact = addresses.map { Symbolizer(bytes: program.bytes).location(of: $0) }
      for number in 0..<2_500 {
        // Line programs, entries and their shapes take most of the damage.
        let target = number % 4 != 0 ? targets[number % 4 - 1] : targets[number / 4 % targets.count]
        let symbolizer = Symbolizer(bytes: mutator.mutate(program.bytes, target: target))
        if addresses.map({ symbolizer.location(of: $0) }) != intact { changed += 1 }
      }
      #expect(changed > 500, "mutants that answer otherwise: \(changed)")
    }
  }

  // MARK: Functions

  @Test func labelsReachUpToTheNextSymbol() throws {
    // In code at 0x1000..<0x2000: a label, then a function with a label inside it, then nothing known.
    let table = try #require(
      SymbolTable(symbols: [
        (name: "label", kind: 0x10, address: 0x1000, size: 0),
        (name: "outer", kind: 0x12, address: 0x1100, size: 0x100),
        (name: "alias", kind: 0x02, address: 0x1100, size: 0x100),
        (name: "inside", kind: 0x00, address: 0x1180, size: 0),
        (name: "last", kind: 0x00, address: 0x1f00, size: 0),
        (name: "data", kind: 0x11, address: 0x1f80, size: 8),
        (name: "elsewhere", kind: 0x12, address: 0x2000, size: 8),
        (name: "endless", kind: 0x12, address: 0x1f90, size: .max),
      ]))
    let expected: [(UInt64, String?)] = [
      (0xfff, nil), (0x1000, "label"), (0x10ff, "label"), (0x1100, "outer"), (0x1180, "outer"),
      (0x11ff, "outer"), (0x1200, nil), (0x1eff, nil), (0x1f00, "last"), (0x1fff, "last"), (0x2000, nil),
    ]
    for (address, name) in expected {
      #expect(table.function(containing: GuestAddress(address))?.name == name, "\(address)")
    }
  }

  // MARK: Names

  @Test func swiftNamesAreDemangled() {
    #expect(demangled("$s4main5crashyyF") == "main.crash()")
    #expect(demangled("$e5LibOS3EnvC4bumpySiSSF") == "LibOS.Env.bump(Swift.String) -> Swift.Int")
  }

  @Test func otherNamesStay() {
    for name in ["memcpy", "_start", "", "$", "$s", "$sgarbage", "main$s4main5crashyyF"] {
      #expect(demangled(name) == name)
    }
  }

  @Test func namesCannotHarmATerminal() {
    #expect(demangled("a\u{1b}[2J\nb\u{202e}") == "a?[2J?b?")
    #expect(demangled(String(repeating: "x", count: 1000)).count == 403)
  }

  @Test func namesThatGrowWithoutBoundStayMangled() {
    // Each level repeats the whole of the one inside it: [[T: T]: [T: T]] and so on.
    func nested(_ levels: Int) -> String {
      let references = (0..<levels).map { "A" + String(UnicodeScalar(UInt8(ascii: "C") + UInt8($0))) + "G" }
      let opening = String(repeating: "SDy", count: levels)
      return "$s4main1fyy" + opening + "SDyS2iG" + references.joined() + "F"
    }
    #expect(demangled(nested(2)).hasPrefix("main.f(Swift.Dictionary<Swift.Dictionary<"))
    #expect(demangled(nested(22)) == nested(22))
    #expect(!DemangleCost.isBearable("$s4main1fyySaySiG_A99999999999999999999CtF"))
    #expect(!DemangleCost.isBearable("$s4main1fyySaySiG_A9999CA9999CtF"))
    #expect(!DemangleCost.isBearable("$s4main1fyyS999999999iF"))
    #expect(DemangleCost.isBearable("$s4main1fyySaySiG_A9CtF"))
    // The longest kind of name that guests really have.
    let real =
      "$es17_NativeDictionaryV12mutatingFind_8isUniques10_HashTableV6BucketV6bucket_Sb5foundtx_SbtFSS_SiTg5"
    #expect(demangled(real) != real)
  }

  // MARK: Reports

  @Test func descriptionsShowWhatIsKnown() {
    var location = SourceLocation(address: GuestAddress(0x401234))
    #expect(location.description == "0x401234")
    location.file = "/usr/src/guest/Crash.swift"
    #expect(location.description == "0x401234 at Crash.swift")
    location.function = "main.crash()"
    location.line = 7
    #expect(location.description == "main.crash() at Crash.swift:7")
    location.offset = 12
    #expect(location.description == "main.crash() + 12 at Crash.swift:7")
    location.inlined = "main.helper()"
    location.failure = "arithmetic overflow"
    #expect(
      location.description
        == "main.crash() + 12 in inlined main.helper() at Crash.swift:7: arithmetic overflow")
  }

  @Test func filesWithoutSymbolsAnswerWithBareAddresses() {
    for bytes in [[], [0x7f, 0x45], ImageBuilder().bytes] {
      #expect(Symbolizer(bytes: bytes).location(of: GuestAddress(0x401300)).description == "0x401300")
    }
  }
}

extension SymbolTable {
  /// From an ELF file with code at 0x1000..<0x2000, as section 1, and these symbols in it.
  fileprivate init?(symbols: [(name: String, kind: UInt8, address: UInt64, size: UInt64)]) {
    var names: [UInt8] = [0]
    var table: [UInt8] = []
    for symbol in symbols {
      table += ImageBuilder.little(UInt32(names.count)) + [symbol.kind, 0] + ImageBuilder.little(1 as UInt16)
      table += ImageBuilder.little(symbol.address) + ImageBuilder.little(symbol.size)
      names += Array(symbol.name.utf8) + [0]
    }
    let file = ImageBuilder.sections([
      .init(),
      .init(type: 8, flags: 6, address: 0x1000, size: 0x1000),
      .init(type: 2, link: 3, content: table),
      .init(type: 3, content: names),
    ])
    guard let sections = ImageSections(file) else { return nil }
    self.init(sections)
  }
}
