import ExoABI
import Testing

@testable import LibOSHost

@Suite struct ExceptionVectorTests {
  /// The classes are those of the ABI's stack slots: what shares a slot there shares a stack here.
  @Test func classesAreTheStackSlots() {
    for vector in ExceptionVector.allCases {
      let slot =
        switch vector.stackClass {
        case .pageFault: EXO_IST_PAGE_FAULT
        case .fault: EXO_IST_FAULT
        case .debug: EXO_IST_DEBUG
        }
      let expected =
        switch vector.rawValue {
        case 14: EXO_IST_PAGE_FAULT
        case 1, 3: EXO_IST_DEBUG
        default: EXO_IST_FAULT
        }
      #expect(slot == expected)
    }
  }

  @Test func theExokernelsOwnVectorsAreLeftOut() {
    for number: UInt8 in [2, 8, 15, 18, 20, 32] { #expect(ExceptionVector(rawValue: number) == nil) }
    #expect(Set(ExceptionVector.allCases.map(\.mnemonic.description)).count == ExceptionVector.allCases.count)
  }
}
