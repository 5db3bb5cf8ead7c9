import ExoABI
import Testing

@testable import LibOSHost

@Suite struct ExocallErrorTests {
  @Test func everyNumberComesBack() {
    for number: Int32 in 1...200 { #expect(ExocallError(number: number).number == number) }
    #expect(ExocallError(number: EXO_EDQUOT) == .quotaExceeded)
    #expect(ExocallError(number: 99) == .other(99))
  }
}
