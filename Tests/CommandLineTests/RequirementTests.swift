import TestSupport
import Testing

/// Runs nothing on KVM: what is missing must be said, and nothing else.
@Suite struct RequirementTests {
  @Test func whatIsThereIsMet() throws {
    #expect(try Requirement(name: "air", missing: nil).isMet())
  }

  @Test func whatIsMissingSkips() throws {
    #expect(try !Requirement(name: "no such thing", missing: "make one").isMet())
  }

  @Test func programsAreLookedUpOnThePath() {
    #expect(Requirement.program("sh", package: "dash").missing == nil)
    let missing = Requirement.program("exo-no-such-program", package: "no-such-package").missing
    #expect(missing?.contains("apt-get install -y no-such-package") == true)
  }
}
