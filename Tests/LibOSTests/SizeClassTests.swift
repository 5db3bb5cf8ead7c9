import Testing

@testable import LibOSHost

@Suite struct SizeClassTests {
  @Test func eachSizeGetsTheSmallestClassThatHoldsIt() {
    let sizes = (0..<SizeClass.count).map { SizeClass(index: $0).size }
    #expect(sizes.first == 16 && sizes.last == SizeClass.largest)
    #expect(zip(sizes, sizes.dropFirst()).allSatisfy { $0 < $1 && $1 % 16 == 0 })
    for size in 0...SizeClass.largest {
      #expect(SizeClass(size: size).index == sizes.firstIndex { $0 >= size })
    }
  }

  @Test func roundingWastesAFifthAtMost() {
    for size in 129...SizeClass.largest {
      #expect((SizeClass(size: size).size - size) * 5 <= SizeClass(size: size).size)
    }
  }

  @Test func anAlignedClassIsTheSmallestMultiple() {
    for shift in 0...12 {
      for size in stride(from: 0, through: SizeClass.largest, by: 7) {
        let found = SizeClass(size: size, alignment: 1 << shift)
        let best = (0..<SizeClass.count).first {
          SizeClass(index: $0).size >= size && SizeClass(index: $0).size % (1 << shift) == 0
        }
        #expect(found.index == best)
      }
    }
  }
}
