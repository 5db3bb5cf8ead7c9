import BenchKit

/// Whoever can be measured on this machine, and why the others cannot.
struct Lineup {
  private(set) var contestants: [any Contestant] = []
  private(set) var missing: [ContestantName: String] = [:]

  init() {
    enter(.exo) { () throws(SampleError) in try ExoContestant() }
    enter(.linux) { () throws(SampleError) in try LinuxContestant() }
    enter(.floor) { () throws(SampleError) in try FloorContestant() }
  }

  private mutating func enter(_ name: ContestantName, _ make: () throws(SampleError) -> any Contestant) {
    do throws(SampleError) { contestants.append(try make()) } catch { missing[name] = error.description }
  }
}
