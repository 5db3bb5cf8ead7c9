import BenchKit
import Glibc

/// What the figures were taken on.
func machineFacts() -> [BenchReport.Fact] {
  var facts: [BenchReport.Fact] = []
  if let model = firstLine(of: "/proc/cpuinfo", after: "model name") {
    facts.append(.init("processor", model))
  }
  facts.append(.init("processors", String(sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
  if let release = firstLine(of: "/proc/sys/kernel/osrelease", after: "") {
    facts.append(.init("kernel", release))
  }
  if let memory = firstLine(of: "/proc/meminfo", after: "MemTotal") { facts.append(.init("memory", memory)) }
  facts.append(.init("kvm", kvmModule()))
  return facts
}

/// The first line that begins with `prefix`, without it and without the colon that follows.
private func firstLine(of path: String, after prefix: String) -> String? {
  guard let text = try? readFile(path) else { return nil }
  let line = text.split(separator: "\n").first { $0.hasPrefix(prefix) }
  return line.map { String($0.dropFirst(prefix.count).drop { " \t:".contains($0) }) }
}

private func kvmModule() -> String {
  ["kvm_intel", "kvm_amd", "kvm_pvm"].first { unsafe access("/sys/module/\($0)", F_OK) == 0 } ?? "unknown"
}
