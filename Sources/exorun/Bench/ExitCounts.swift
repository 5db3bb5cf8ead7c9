import BenchKit
import Exo

/// How often the processor leaves guest mode for one operation, by KVM's own statistic, whatever KVM does about it: 0 where nothing but
/// the guest runs. KVM shows the statistic where debugfs is mounted, to root, and for all machines together.
enum ExitCounts {
  private static let path = "/sys/kernel/debug/kvm/exits"
  /// Of each path: many enough that the host's clock and the question itself are less than one in a hundred.
  private static let operations: UInt64 = 20_000
  /// Rows of the benchmark's guest. KVM intercepts #UD, which shows that the statistic counts.
  private static let rows = [
    "exception_de", "exception_bp", "exception_gp", "exception_pf_direct", "exception_pf_cr2", "exception_ud",
    "nucleus_call", "prot1", "lrpc",
  ]

  /// Name and exits of an operation, rounded down; empty where KVM does not tell.
  static func measure(_ configuration: Machine.Configuration, _ image: GuestImage) throws(Failure) -> [(
    name: String, exits: UInt64
  )] {
    guard counted() != nil else { return [] }
    let machine: Machine
    do throws(MachineError) { machine = try Machine(configuration) } catch {
      throw Failure(.usage, "\(error)")
    }
    defer { machine.stop() }
    do throws(SampleError) {
      let session = try GuestSession(machine, image, arguments: ["exits"])
      defer { session.close() }
      var found: [(name: String, exits: UInt64)] = []
      for row in rows {
        _ = try session.ask("\(row) 100\n")
        guard let before = counted() else { break }
        let answer = try session.ask("\(row) \(operations)\n")
        guard let after = counted() else { break }
        // What this machine has not is told in words.
        if answer.first?.isNumber ?? false { found.append((row, (after &- before) / operations)) }
      }
      return found
    } catch { throw Failure(.usage, "counting exits: \(error)") }
  }

  private static func counted() -> UInt64? {
    HostFile.text(path)?.split(separator: "\n").first.flatMap { UInt64($0) }
  }
}
