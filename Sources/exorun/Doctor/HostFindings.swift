import Exo
import Glibc

/// What can be seen of the host without making a machine.
enum HostFindings {
  /// The device and what it offers. The last one is fatal if nothing more can be found out.
  static func kvm(_ path: String) -> [Finding] {
    let device: KVMDevice
    do throws(MachineError) { device = try KVMDevice(path: path) } catch {
      return [Finding("kvm", .missing, words(error), advice: advice(error, path), isRequired: true)]
    }
    var findings = [
      Finding("kvm", .ok, "\(path) opens, interface version \(device.version), \(module)", isRequired: true)
    ]
    let lacking = device.capabilities.filter { $0.value == 0 }
    let fatal = lacking.filter(\.isRequired)
    func list(_ some: [KVMDevice.Capability]) -> String {
      some.map { "\($0.name) (\($0.purpose))" }.joined(separator: ", ")
    }
    let figures = device.capabilities.map { (name: $0.name, value: Double($0.value)) }
    if !fatal.isEmpty {
      findings.append(
        Finding(
          "capabilities", .missing, "without \(list(fatal))",
          advice: "a newer kernel has them: Linux 6.1 or later",
          isRequired: true, figures: figures))
    } else if !lacking.isEmpty {
      findings.append(Finding("capabilities", .degraded, "without \(list(lacking))", figures: figures))
    } else {
      findings.append(
        Finding("capabilities", .ok, "all \(device.capabilities.count) that are used", figures: figures))
    }
    return findings
  }

  /// Without the advice that the error's own description gives.
  private static func words(_ error: MachineError) -> String {
    switch error {
    case .noKVM(let path): "there is no KVM at \(path)"
    case .permissionDenied(let path): "no permission to open \(path)"
    default: "\(error)"
    }
  }

  private static func advice(_ error: MachineError, _ path: String) -> String {
    switch error {
    case .permissionDenied:
      "type `sudo usermod -aG kvm $USER` and log in again, or run as root; in a container, pass the device in"
        + " with `--device \(path)`"
    case .noKVM:
      "type `sudo modprobe kvm_intel` or `sudo modprobe kvm_amd`; in a container, pass the device in with"
        + " `--device /dev/kvm`; in a virtual machine, turn nested virtualisation on; on a machine of your own,"
        + " turn VT-x or AMD-V (SVM) on in its firmware"
    case .wrongVersion: "a kernel of this century has version 12: Linux 6.1 or later"
    default: "`dmesg` may say more"
    }
  }

  private static var module: String {
    let modules = ["kvm_intel", "kvm_amd", "kvm_pvm"].filter { HostFile.exists("/sys/module/\($0)") }
    return modules.isEmpty ? "module unknown" : modules.joined(separator: " and ")
  }

  static var system: Finding {
    let release = HostFile.text("/proc/sys/kernel/osrelease")?.split(separator: "\n").first ?? "unknown"
    let processor = field("model name", in: "/proc/cpuinfo") ?? "unknown processor"
    return Finding("host", .ok, "Linux \(release) on \(processor)")
  }

  static var processors: Finding {
    let count = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    let figures = [(name: "processors", value: Double(count))]
    guard count > 1 else {
      return Finding(
        "processors", .degraded, "one: every exocall leaves the guest to be served",
        advice: "give this host or container a second processor", figures: figures)
    }
    return Finding("processors", .ok, "\(count)", figures: figures)
  }

  static var memory: Finding {
    func kilobytes(_ name: String) -> UInt64? {
      field(name, in: "/proc/meminfo")?.split(separator: " ").first.flatMap { UInt64($0) }
    }
    guard let total = kilobytes("MemTotal"), let available = kilobytes("MemAvailable") else {
      return Finding("memory", .degraded, "/proc/meminfo does not tell", advice: "mount /proc")
    }
    let text = "\(memoryText(available << 10)) available of \(memoryText(total << 10))"
    let figures = [
      (name: "availableBytes", value: Double(available << 10)), ("totalBytes", Double(total << 10)),
    ]
    // A machine's usual memory, and as much again for the host.
    guard available > 128 << 10 else {
      return Finding(
        "memory", .degraded, text, advice: "launch with less, as in `--memory 16M`", figures: figures)
    }
    return Finding("memory", .ok, text, figures: figures)
  }

  static var hugePages: Finding {
    let path = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
    guard let text = HostFile.text(path), let open = text.firstIndex(of: "["),
      let close = text.firstIndex(of: "]")
    else { return Finding("huge pages", .degraded, "this kernel has none for shared memory") }
    let policy = text[text.index(after: open)..<close]
    guard ["never", "deny"].contains(policy) else {
      return Finding("huge pages", .ok, "shared memory gets them (\(policy))")
    }
    return Finding(
      "huge pages", .degraded,
      "shared memory never gets them: a guest's huge pages are small ones to the host",
      advice: "type `echo advise | sudo tee \(path)`")
  }

  static var tun: Finding {
    let path = "/dev/net/tun"
    do throws(HostFileError) {
      _ = try HostFile(reading: path)
      return Finding("network", .ok, "\(path) opens")
    } catch .absent {
      return Finding(
        "network", .missing, "no \(path): guests run, without a network", advice: "type `sudo modprobe tun`")
    } catch {
      return Finding(
        "network", .missing, "\(path): \(error): guests run, without a network", advice: "run as root")
    }
  }

  /// The value of the first line `name: value` of a file.
  private static func field(_ name: String, in path: String) -> String? {
    let line = HostFile.text(path)?.split(separator: "\n").first { $0.hasPrefix(name) }
    guard let line, let colon = line.firstIndex(of: ":") else { return nil }
    return String(line[line.index(after: colon)...].drop { $0 == " " })
  }
}
