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

      #expect(symbolizer.location(of: try program.address("inlined")).line == 19)
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
      var targets = [".debug_line", ".symtab", ".strtab"].compactMap { sections.range(named: $0) }
      if let strings = sections.range(named: ".debug_line_str") { targets.append(strings) }
      targets.append(0..<64)
      targets.append(program.bytes.count - 64 * sections.all.count..<program.bytes.count)
      let addresses = Array(program.addresses.values)
      var mutator = Mutator(random: SeededGenerator(seed: UInt64(dwarf)))
      var changed = 0
      let intact = addresses.map { Symbolizer(bytes: program.bytes).location(of: $0) }
      for number in 0..<3_000 {
        // Every other one hurts the line programs.
        let target = number % 2 == 0 ? targets[0] : targets[number / 2 % targets.count]
        let symbolizer = Symbolizer(bytes: mutator.mutate(program.bytes, target: target))
        if addresses.map({ symbolizer.location(of: $0) }) != intact { changed += 1 }
      }
      #expect(changed > 500, "mutants that answer otherwise: \(changed)")
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
  }

  @Test func filesWithoutSymbolsAnswerWithBareAddresses() {
    for bytes in [[], [0x7f, 0x45], ImageBuilder().bytes] {
      #expect(Symbolizer(bytes: bytes).location(of: GuestAddress(0x401300)).description == "0x401300")
    }
  }
}
