import BenchKit
import Glibc

/// What the figures were taken on.
func machineFacts() -> [BenchReport.Fact] {
  var facts: [BenchReport.Fact] = []
  if let model = firstLine(of: "/proc/cpuinfo", after: "model name") {
    facts.append(.init("processor", model))
  }
  facts.append(.init("processors", String(sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
  if let memory = firstLine(of: "/proc/meminfo", after: "MemTotal") { facts.append(.init("memory", memory)) }
  if let release = firstLine(of: "/proc/sys/kernel/osrelease") { facts.append(.init("kernel", release)) }
  let module = ["kvm_intel", "kvm_amd", "kvm_pvm"].first { HostFile.exists("/sys/module/\($0)") }
  facts.append(.init("kvm", module ?? "unknown"))
  if let load = systemLoad() { facts.append(.init("load", String(load))) }
  facts.append(.init("exorun", Exorun.version))
  return facts
}

/// How many programs wanted to run over the last minute.
func systemLoad() -> Double? {
  firstLine(of: "/proc/loadavg")?.split(separator: " ").first.flatMap { Double($0) }
}

/// The first line that begins with `prefix`, without it and without the colon that follows.
private func firstLine(of path: String, after prefix: String = "") -> String? {
  let line = HostFile.text(path)?.split(separator: "\n").first { $0.hasPrefix(prefix) }
  return line.map { String($0.dropFirst(prefix.count).drop { " \t:".contains($0) }) }
}
