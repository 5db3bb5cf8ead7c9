import BenchKit
import Exo

/// How often the processor leaves guest mode for one operation, by KVM's own statistic, whatever KVM does about it: 0 where nothing but
/// the guest runs. KVM shows the statistic where debugfs is mounted, to root, and for all machines together.
enum ExitCounts {
  private static let path = "/sys/kernel/debug/kvm/exits"
  /// Of each path: many enough that the host's clock and the question itself are less than one in a hundred.
  private static let operations: UInt64 = 20_000
  /// Rows of the benchmark's guest, and what they are called. KVM intercepts #UD, which shows that the statistic counts.
  private static let rows = [
    ("exception_de", "#DE"), ("exception_bp", "#BP"), ("exception_gp", "#GP"), ("exception_pf_direct", "#PF"),
    ("exception_pf_cr2", "#PF with its address"), ("exception_fp_overflow", "#XM"), (intercepted, "#UD"),
    ("nucleus_call", "the null call"), ("prot1", "protection of a page"), ("lrpc", "a call through a gate"),
  ]
  private static let intercepted = "exception_ud"

  /// Name and exits of an operation, rounded down; empty where KVM does not tell.
  static func measure(_ configuration: Machine.Configuration, _ image: GuestImage) throws(Failure) -> [(
    name: String, exits: UInt64
  )] {
    guard isReadable else { return [] }
    let machine: Machine
    do throws(MachineError) { machine = try Machine(configuration) } catch {
      throw Failure(.usage, "\(error)")
    }
    defer { machine.stop() }
    do throws(SampleError) {
      let session = try GuestSession(machine, image, arguments: ["exits"])
      defer { session.close() }
      var found: [(name: String, exits: UInt64)] = []
      for (row, _) in rows {
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

  /// As `exorun doctor --deep` calls it.
  static let name = "nothing leaves the guest"

  private static var isReadable: Bool { counted() != nil }

  /// Whether all that must not leave guest mode does not, where ring 0 runs on the processor: what `exorun doctor --deep` says
  /// of it. What this processor does not raise is named.
  static func finding(_ configuration: Machine.Configuration, _ image: GuestImage?, isNative: Bool) -> Finding
  {
    guard isNative else {
      return Finding(name, .ok, "does not apply: what interprets ring 0 leaves the guest at every exception")
    }
    guard let image, isReadable else {
      return Finding(
        name, .degraded, "not counted: \(path) cannot be read",
        advice: "as root, `mount -t debugfs debugfs /sys/kernel/debug`")
    }
    do throws(Failure) {
      let found = try measure(configuration, image)
      var quiet: [String] = []
      var problems: [String] = []
      var absent: [String] = []
      for (row, words) in rows {
        guard let exits = found.first(where: { $0.name == row })?.exits else {
          absent.append(words)
          continue
        }
        if row == intercepted {
          if exits == 0 {
            problems.append("KVM's statistic does not count: \(words), which it intercepts, is no exit")
          }
        } else if exits == 0 {
          quiet.append(words)
        } else {
          problems.append("\(words) leaves the guest \(exits) times")
        }
      }
      guard problems.isEmpty, !quiet.isEmpty else {
        return Finding(
          name, .missing, "fail: \(problems.joined(separator: "; "))",
          advice: "instead: nothing; these paths take as much longer")
      }
      let missing = absent.isEmpty ? "" : "; not raised here: \(absent.joined(separator: ", "))"
      return Finding(name, .ok, "pass: no exit at \(quiet.joined(separator: ", "))\(missing)")
    } catch { return Finding(name, .missing, "fail: \(error)") }
  }

  private static func counted() -> UInt64? {
    HostFile.text(path)?.split(separator: "\n").first.flatMap { UInt64($0) }
  }
}
