import Testing

@testable import LibOSHost

@Suite struct LineBufferTests {
  /// Lines come out as they went in, however the bytes were cut up on the way.
  @Test(arguments: 1...20) func linesAreWhole(seed: UInt64) {
    var random = Randomness(state: seed)
    let text = (0..<3000).map { _ in UInt8.random(in: 0...20, using: &random) }
    var lines = text.split(separator: 0x0a, omittingEmptySubsequences: false).map(Array.init)
    let last = lines.removeLast()
    var buffer = LineBuffer()
    var at = 0
    var out: [[UInt8]] = []
    while at < text.count {
      let count = min(Int.random(in: 1...200, using: &random), text.count - at)
      text[at..<(at + count)].withUnsafeBytes { buffer.append($0) }
      at += count
      while Bool.random(using: &random), let line = buffer.takeLine() { out.append(Array(line)) }
    }
    while let line = buffer.takeLine() { out.append(Array(line)) }
    #expect(out == lines.map { $0 + [0x0a] })
    #expect(Array(buffer.takeRest()) == last)
    #expect(buffer.isEmpty && buffer.takeLine() == nil)
  }

  /// Taking by line and as they are may alternate.
  @Test func nothingIsLostBetweenLinesAndBytes() {
    var buffer = LineBuffer()
    Array("one\ntwo\nthree\nfour".utf8).withUnsafeBytes { buffer.append($0) }
    var out = [UInt8](repeating: 0, count: 6)
    #expect(String(decoding: buffer.takeLine() ?? [], as: UTF8.self) == "one\n")
    #expect(out.withUnsafeMutableBytes { buffer.take(into: $0) } == 6)
    #expect(String(decoding: out, as: UTF8.self) == "two\nth")
    #expect(String(decoding: buffer.takeLine() ?? [], as: UTF8.self) == "ree\n")
    #expect(out.withUnsafeMutableBytes { buffer.take(into: $0) } == 4)
    #expect(buffer.isEmpty)
  }
}
