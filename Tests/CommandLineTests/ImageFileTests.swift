import Glibc
import TestSupport
import Testing

extension ExorunTests {
  /// Files that are no image: one line that says why, 126, and nothing is started, so no KVM is needed.
  @Suite struct ImageFiles {
    let scratch = Scratch()
    private let good = TinyImage([0xeb, 0xfe])

    private func refused(_ text: String, _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation)
      throws
    {
      try expectComplaint(
        126, text, .exorun("launch", scratch.file("image", bytes)), sourceLocation: sourceLocation)
    }
    private func refused(
      _ text: String, _ new: [UInt8], at offset: Int, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      try refused(text, good.with(new, at: offset).bytes, sourceLocation: sourceLocation)
    }

    @Test func whatIsNoFileAtAll() throws {
      try expectComplaint(126, "a directory", .exorun("launch", scratch.path))
      try expectComplaint(126, "not a regular file", .exorun("launch", "/dev/null"))
      let pipe = scratch.file("pipe")
      mkfifo(pipe, 0o600)
      try expectComplaint(126, "not a regular file", .exorun("launch", pipe))
    }

    @Test func whatIsNoImage() throws {
      try refused("an empty file", [])
      try refused("a script (#!/bin/sh)", Array("#!/bin/sh\necho hello\n".utf8))
      try refused("not an ELF image", Array("MZ and so on".utf8))
      try refused("truncated", Array(good.bytes[..<40]))
      try refused("program headers", Array(good.bytes[..<100]))
      try refused("lies outside the file", Array(good.bytes.dropLast()))
    }

    @Test func whatIsMadeForSomethingElse() throws {
      try refused("a 32-bit image", [1], at: TinyImage.Field.kind)
      try refused("big-endian", [2], at: TinyImage.Field.order)
      try refused("made for ARM (64-bit)", [183, 0], at: TinyImage.Field.machine)
      try refused("position-independent", [3, 0], at: TinyImage.Field.type)
      try refused("relocatable", [1, 0], at: TinyImage.Field.type)
      try expectComplaint(126, "guests are static", .exorun("launch", "/bin/sh"))
      try refused("built for ABI version 99", [99, 0, 0, 0], at: TinyImage.Field.abiVersion)
      try refused("no ABI note", [0, 0, 0, 0], at: TinyImage.Field.noteType)
    }

    @Test func whatAsksForTheAbsurd() throws {
      try refused("entry 0x10 lies in no executable segment", [0x10, 0, 0], at: TinyImage.Field.entry)
      try refused("bytes in the file for", [0, 0, 0, 0x10], at: TinyImage.Field.segmentFileSize)
      try refused("lies outside the file", [0, 0, 0, 0x10], at: TinyImage.Field.segmentOffset)
      try refused("leave the range", [0, 0, 0, 0, 0, 0, 0, 0x10], at: TinyImage.Field.segmentMemorySize)
      try refused("leave the range", [0, 0, 0, 0, 0, 0x80, 0xff, 0xff], at: TinyImage.Field.segmentAddress)
      try refused("both writable and executable", [7], at: TinyImage.Field.segmentFlags)
    }
  }
}
