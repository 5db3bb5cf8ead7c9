import ExoABI
import Testing

@testable import Exo

@Suite struct ImageTests {
  @Test func aValidImageIsTakenApart() throws {
    let image = try GuestImage(name: "valid", bytes: ImageBuilder().bytes)
    #expect(image.name == "valid")
    #expect(image.entry == GuestAddress(0x401300))
    #expect(image.abiVersion == UInt32(EXO_ABI_VERSION))
    #expect(image.end == GuestAddress(0x406000))
    #expect(image.segments.map(\.address.value) == [0x400000, 0x401000, 0x402000])
    #expect(image.segments.map(\.pageCount) == [1, 1, 4])
    #expect(image.segments.map(\.rights) == [.read, [.read, .execute], [.read, .write]])
    #expect(image.segments[2].contentOffset == 0x380)
    #expect(image.segments[2].memorySize == 0x3380)
    #expect(image.segments[2].fileRange == 0x380..<0x400)
  }

  @Test func pagesOfASegmentTileItsContent() throws {
    var builder = ImageBuilder()
    builder.size = 0x3000
    builder.headers[2].fileSize = 0x2000
    let segment = try GuestImage(name: "", bytes: builder.bytes).segments[2]
    let pages = (0..<segment.pageCount).map { segment.content(ofPage: $0) }
    #expect(pages.map(\.offset) == [0x380, 0, 0, 0])
    #expect(pages.map(\.file) == [0x380..<0x1000, 0x1000..<0x2000, 0x2000..<0x2380, 0x380..<0x380])
  }

  @Test func segmentsAreOrderedByAddress() throws {
    var builder = ImageBuilder()
    builder.headers.reverse()
    let image = try GuestImage(name: "", bytes: builder.bytes)
    #expect(image.segments.map(\.address.value) == [0x400000, 0x401000, 0x402000])
  }

  @Test func headersThatDeclareNoMemoryAreSkipped() throws {
    var builder = ImageBuilder()
    builder.headers.append(.init(address: 0x400000))
    #expect(try GuestImage(name: "", bytes: builder.bytes).segments.count == 3)
  }

  @Test func writableMemoryIsReadable() throws {
    var builder = ImageBuilder()
    builder.headers[2].flags = 2
    #expect(try GuestImage(name: "", bytes: builder.bytes).segments[2].rights == [.read, .write])
  }

  @Test func otherNotesAndABlankDynamicSectionAreAccepted() throws {
    var builder = ImageBuilder()
    let other = ImageBuilder.abiNote(version: 9, name: "GNU")
    builder.note = other + ImageBuilder.abiNote(version: 9, type: 7) + builder.note
    builder.headers[3].fileSize = UInt64(builder.note.count)
    builder.headers.append(.init(type: 2, offset: 0x400, fileSize: 0x20, memorySize: 0x20))
    builder.size = 0x420
    var bytes = builder.bytes
    bytes.replaceSubrange(0x400..., with: [UInt8](repeating: 0, count: 0x20))
    #expect(throws: Never.self) { try GuestImage(name: "", bytes: bytes) }
  }

  @Test func theLastPageOpenToImagesMayBeUsed() throws {
    var builder = ImageBuilder()
    let top = GuestImage.allowed.upperBound
    // The window on the page tables lies below the first stack.
    #expect(top == exo_kit_tables)
    builder.headers[2].address = top - 0x3000 + 0x380
    builder.headers[2].memorySize = 0x3000 - 0x380
    #expect(try GuestImage(name: "", bytes: builder.bytes).end == GuestAddress(top))
    builder.headers[2].memorySize += 1
    #expect(refusal(builder.bytes).map(isOutside) == true)
  }

  // MARK: Refusals

  @Test func filesThatAreNoELFAreRefused() {
    #expect(refusal([]) == .empty)
    #expect(refusal(Array("#!/bin/sh -e\necho\n".utf8)) == .script(line: "#!/bin/sh -e"))
    #expect(refusal(Array("hello".utf8)) == .notELF)
    #expect(refusal([0x7f, 0x45]) == .truncated(size: 2, needed: 64))
    #expect(refusal(Array(ImageBuilder().bytes.prefix(63))) == .truncated(size: 63, needed: 64))
  }

  @Test func otherKindsOfELFAreRefused() {
    #expect(refusal { $0.kind = 1 } == .not64Bit(class: 1))
    #expect(refusal { $0.encoding = 2 } == .notLittleEndian(encoding: 2))
    #expect(refusal { $0.version = 2 } == .unknownVersion(2))
    #expect(refusal { $0.machine = 183 } == .foreignMachine(183))
    for type: UInt16 in [0, 1, 3, 4, 0xfe00] {
      #expect(refusal { $0.type = type } == .notExecutable(type: type))
    }
  }

  @Test func dynamicLinkingIsRefused() {
    var builder = ImageBuilder()
    builder.headers.append(.init(type: 3, offset: 0x400, fileSize: 8, memorySize: 8))
    builder.size = 0x408
    var bytes = builder.bytes
    bytes.replaceSubrange(0x400..., with: Array("/ld.so\0\0".utf8))
    #expect(refusal(bytes) == .interpreter(path: "/ld.so"))

    builder = ImageBuilder()
    builder.headers.append(.init(type: 2, offset: 0x400, fileSize: 0x30, memorySize: 0x30))
    builder.size = 0x430
    bytes = builder.bytes
    let needed = [1, 5, 1, 9, 0, 0].flatMap { ImageBuilder.little($0 as UInt64) }
    bytes.replaceSubrange(0x400..., with: needed)
    #expect(refusal(bytes) == .dynamicLibraries(count: 2))
  }

  @Test func wrongProgramHeadersAreRefused() {
    #expect(refusal { $0.entrySize = 32 } == .headerEntrySize(32))
    #expect(refusal { $0.count = 65 } == .tooManyHeaders(count: 65, limit: 64))
    #expect(refusal { $0.count = 0 } == .noSegments)
    let size = 4 * 56
    for offset: UInt64 in [.max, 1 << 63, 0x400, 0x400 - UInt64(size) + 1] {
      #expect(
        refusal { $0.programOffset = offset } == .headersOutsideFile(offset: offset, size: size, file: 0x400))
    }
  }

  @Test func wrongFileRangesAreRefused() {
    for (offset, size): (UInt64, UInt64) in [
      (0x380, 0x81), (0x401, 0), (.max, 2), (2, .max), (1 << 63, 1 << 63),
    ] {
      #expect(
        refusal {
          $0.headers[2].offset = offset
          $0.headers[2].fileSize = size
          $0.headers[2].memorySize = .max
        } == .dataOutsideFile(header: 2, offset: offset, size: size, file: 0x400))
    }
    #expect(
      refusal { $0.headers[3].offset = 0x3f0 }
        == .dataOutsideFile(header: 3, offset: 0x3f0, size: 20, file: 0x400))
    #expect(
      refusal { $0.headers[2].memorySize = 0x7f }
        == .fileExceedsMemory(header: 2, fileSize: 0x80, memorySize: 0x7f))
    #expect(
      refusal { $0.headers[2].address += 8 } == .misaligned(header: 2, offset: 0x380, address: 0x402388))
  }

  @Test func addressesOutsideTheUserHalfAreRefused() {
    let addresses: [UInt64] = [
      0, 0xf380, exo_kit_start + 0x380, exo_stack_top - 0x1000 + 0x380, 0xffff_8000_0000_0380,
      0xffff_ffff_ffff_f380, 0x8000_0000_0380 - 0x1000,
    ]
    for address in addresses {
      #expect(
        refusal { $0.headers[2].address = address }
          == .outsideUserHalf(header: 2, address: address, size: 0x3000, allowed: GuestImage.allowed))
    }
    #expect(refusal { $0.headers[2].memorySize = .max }.map(isOutside) == true)
  }

  @Test func absurdSizesAreRefused() {
    // The third segment alone, then only together with the first two pages.
    #expect(
      refusal { $0.headers[2].memorySize = 1 << 40 }
        == .tooLarge(size: 1 << 40 + 0x3000, limit: 1 << 30))
    #expect(
      refusal { $0.headers[2].memorySize = 1 << 30 - 0x380 }
        == .tooLarge(size: 1 << 30 + 0x2000, limit: 1 << 30))
    #expect(refusal { $0.headers[2].memorySize = 1 << 30 - 0x2380 } == nil)
  }

  @Test func mixedRightsAreRefused() {
    #expect(refusal { $0.headers[2].flags = 7 } == .writableCode(header: 2, address: 0x402380))
    #expect(refusal { $0.headers[1].flags = 3 } == .writableCode(header: 1, address: 0x401300))
    #expect(refusal { $0.headers[2].flags = 0 } == .noRights(header: 2))
    // The code's page is shared by its neighbours.
    #expect(refusal { $0.headers[2].address = 0x401380 } == .overlap(header: 1, other: 2, page: 0x401000))
    #expect(refusal { $0.headers[0].memorySize = 0x1001 } == .overlap(header: 0, other: 1, page: 0x401000))
  }

  @Test func anEntryOutsideCodeIsRefused() {
    for entry: UInt64 in [0, 0x400000, 0x400fff, 0x401380, 0x402380, .max] {
      #expect(refusal { $0.entry = entry } == .entryNotExecutable(entry: entry))
    }
    #expect(refusal { for index in 0..<3 { $0.headers[index].type = 6 } } == .noSegments)
  }

  @Test func theABINoteIsAsked() {
    let version = UInt32(EXO_ABI_VERSION)
    #expect(refusal { $0.headers[3].type = 6 } == .noABINote)
    #expect(refusal { $0.note = ImageBuilder.abiNote(version: version, name: "GNU") } == .noABINote)
    #expect(refusal { $0.note = ImageBuilder.abiNote(version: version, type: 2) } == .noABINote)
    #expect(refusal { $0.headers[3].fileSize = 19 } == .noABINote)
    let mismatch = ImageError.abiMismatch(image: version + 1, expected: version)
    #expect(refusal { $0.note = ImageBuilder.abiNote(version: version + 1) } == mismatch)
    #expect(
      refusal {
        $0.note += ImageBuilder.abiNote(version: version + 1)
        $0.headers[3].fileSize = 40
      } == mismatch)
  }

  @Test func eachRefusalIsOneLine() {
    let errors: [ImageError] = [
      .empty, .script(line: "#!/bin/sh"), .notELF, .truncated(size: 1, needed: 64), .not64Bit(class: 1),
      .not64Bit(class: 9), .notLittleEndian(encoding: 2), .unknownVersion(3), .foreignMachine(243),
      .foreignMachine(9999), .notExecutable(type: 3), .interpreter(path: "/lib/ld.so"),
      .dynamicLibraries(count: 2), .headerEntrySize(32), .tooManyHeaders(count: 99, limit: 64),
      .headersOutsideFile(offset: 1, size: 2, file: 3),
      .dataOutsideFile(header: 1, offset: 2, size: 3, file: 4),
      .fileExceedsMemory(header: 1, fileSize: 2, memorySize: 1),
      .misaligned(header: 1, offset: 2, address: 3),
      .outsideUserHalf(header: 1, address: 2, size: 3, allowed: GuestImage.allowed),
      .tooLarge(size: 2, limit: 1), .noRights(header: 1), .writableCode(header: 1, address: 2),
      .overlap(header: 1, other: 2, page: 3), .noSegments, .entryNotExecutable(entry: 1), .noABINote,
      .abiMismatch(image: 2, expected: 1),
    ]
    let lines = Set(errors.map(\.description))
    #expect(lines.count == errors.count)
    #expect(lines.allSatisfy { !$0.isEmpty && !$0.contains("\n") })
    #expect(
      "\(ImageError.abiMismatch(image: 2, expected: 1))"
        == "built for ABI version 2; this exokernel speaks version 1")
  }

  // MARK: Mutants

  @Test func noMutantCrashesOrBreaksTheInvariants() {
    let original = ImageBuilder().bytes
    var mutator = Mutator(random: SeededGenerator(seed: 0x0e0_1995))
    var accepted = 0
    for number in 0..<24_000 {
      // The headers, then the note, take most of the damage.
      let target = number % 8 == 0 ? 0x280..<0x294 : 0..<(64 + 4 * 56)
      let bytes = mutator.mutate(original, target: target)
      guard let image = try? GuestImage(name: "mutant", bytes: bytes) else { continue }
      accepted += 1
      let broken = brokenInvariant(image)
      #expect(broken == nil, "mutant \(number)")
    }
    // Enough of both kinds, or the test says nothing.
    #expect(accepted > 1_000 && accepted < 20_000, "\(accepted) accepted")
  }

  private func brokenInvariant(_ image: GuestImage) -> String? {
    var previousEnd = GuestAddress(UInt64(EXO_USER_FLOOR))
    var pages = 0
    for segment in image.segments {
      if !segment.address.isPageAligned || segment.pageCount < 1 { return "not whole pages" }
      if segment.address < previousEnd { return "overlap, order or floor" }
      if segment.end.value > exo_stack_top - UInt64(EXO_STACK_PAGES * EXO_PAGE_SIZE) {
        return "over the stack"
      }
      if segment.rights.isSuperset(of: [.write, .execute]) { return "writable code" }
      if !segment.rights.contains(.read) { return "unreadable" }
      if segment.fileRange.lowerBound < 0 || segment.fileRange.upperBound > image.bytes.count {
        return "data outside the file"
      }
      if segment.contentOffset + segment.fileRange.count > segment.memorySize { return "data outside memory" }
      if segment.memorySize > segment.pageCount * 4096 { return "memory outside pages" }
      for index in [0, segment.pageCount - 1] {
        let (offset, file) = segment.content(ofPage: index)
        if offset + file.count > 4096 { return "content outside its page" }
        if !file.isEmpty, file.clamped(to: segment.fileRange) != file { return "content outside the segment" }
      }
      previousEnd = segment.end
      pages += segment.pageCount
    }
    if pages > 1 << 18 { return "over 1 GiB" }
    if image.end != previousEnd { return "end" }
    if image.abiVersion != UInt32(EXO_ABI_VERSION) { return "ABI version" }
    let inCode = image.segments.contains { $0.rights.contains(.execute) && $0.contains(image.entry) }
    return inCode ? nil : "entry"
  }

  private func refusal(_ bytes: [UInt8]) -> ImageError? {
    do throws(ImageError) {
      _ = try GuestImage(name: "", bytes: bytes)
      return nil
    } catch { return error }
  }

  private func refusal(_ change: (inout ImageBuilder) -> Void) -> ImageError? {
    var builder = ImageBuilder()
    change(&builder)
    return refusal(builder.bytes)
  }

  private func isOutside(_ error: ImageError) -> Bool {
    if case .outsideUserHalf = error { true } else { false }
  }
}
