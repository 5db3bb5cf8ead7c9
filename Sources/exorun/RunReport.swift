import ArgumentParser
import Exo
import Glibc
import JSONText

enum ReportFormat: String, ExpressibleByArgument, CaseIterable {
  case json, text
}

/// Where `--report` goes. Opened before the guest starts, so that a report that cannot be written costs no run.
struct ReportDestination: ~Copyable {
  private let path: String
  private let format: ReportFormat
  /// Nil for standard error.
  private let file: HostFile?

  init(_ path: String, _ format: ReportFormat?) throws(Failure) {
    self.path = path
    self.format = format ?? (path.hasSuffix(".json") ? .json : .text)
    guard path != "-" else {
      file = nil
      return
    }
    do throws(HostFileError) { file = try HostFile(writing: path) } catch {
      throw Failure(.usage, "\(path): the report cannot be written: \(error)")
    }
  }

  consuming func write(_ record: RunRecord) throws(Failure) {
    let text = format == .json ? record.json.text() + "\n" : record.text
    guard let file else {
      StandardStreams.write(text, to: STDERR_FILENO)
      return
    }
    do throws(HostFileError) { try file.write(text) } catch {
      throw Failure(.usage, "\(path): the report cannot be written: \(error)")
    }
  }
}

extension RunRecord {
  /// The report for programs. Members are only ever added.
  var json: JSON {
    var members: [(name: String, value: JSON)] = [
      ("guest", .string(guest)), ("arguments", .strings(Array(arguments.dropFirst()))),
      ("ending", .string(ending)), ("exitCode", .integer(status.code)), ("message", .optional(account)),
    ]
    switch outcome {
    case .exited(let status): members.append(("status", .integer(status)))
    case .killed: members.append(("signal", signal.map { .integer($0) } ?? .null))
    case .timeLimit(let limit): members.append(("timeLimitMicroseconds", .number(limit.microseconds)))
    default: break
    }
    if let fault { members.append(("fault", fault.json)) }
    guard let usage else { return .members(members) }
    members += [
      ("guestMicroseconds", .number(usage.timeInGuest.microseconds)), ("exits", .integer(usage.exits)),
      ("exceptions", .members(exceptions.map { ($0.name, .integer($0.count)) })),
      ("exocalls", .members(usage.exocalls.map { ($0.name, .integer($0.count)) })),
      ("exocallsRefused", .integer(usage.refused)), ("framesPeak", .integer(usage.framesPeak)),
      ("startupMicroseconds", .number(startupTime.microseconds)),
      (
        "startup",
        .array(
          startup.map {
            .members([("step", .string($0.step)), ("microseconds", .number($0.time.microseconds))])
          })
      ),
    ]
    return .members(members)
  }

  /// The report for people.
  var text: String {
    var lines: [(name: String, value: String)] = [("guest", arguments.joined(separator: " "))]
    let end = outcome.map { "\(Self.words(for: $0)), exit code \(status.code)" }
    lines.append(("ended", end ?? "did not start, exit code \(status.code)"))
    if let account { lines.append(("because", account)) }
    if let usage {
      lines.append(("in guest", usage.timeInGuest.text))
      lines.append(("exits", "\(usage.exits)"))
      lines.append(("exceptions", Self.list(exceptions)))
      lines.append(("exocalls", Self.list(usage.exocalls)))
      if usage.refused > 0 { lines.append(("refused", "\(usage.refused) exocalls")) }
      lines.append(("frames", "\(usage.framesPeak) at peak (\(memoryText(UInt64(usage.framesPeak) << 12)))"))
      lines.append(("start-up", startupTime.text))
      for step in startup { lines.append(("", "\(step.step.padded(to: 12)) \(step.time.microseconds) us")) }
    }
    return lines.map { "\($0.name.padded(to: 11))\($0.value)\n" }.joined()
  }

  /// Exceptions the exokernel saw. What a guest handles through a direct gate runs no exokernel code, so nobody
  /// counts it.
  private var exceptions: [(name: String, count: UInt64)] {
    fault.map { [($0.report.vector.mnemonic, UInt64(1))] } ?? []
  }
  private var startupTime: Duration { startup.reduce(.zero) { $0 + $1.time } }

  private static func list(_ counts: [(name: String, count: UInt64)]) -> String {
    counts.isEmpty ? "none" : counts.map { "\($0.name) \($0.count)" }.joined(separator: ", ")
  }
  private static func words(for outcome: Outcome) -> String {
    switch outcome {
    case .exited(let status): "exited with \(status)"
    case .faulted(let report): "faulted: \(report.vector)"
    case .misused: "ended for misuse"
    case .timeLimit: "ended at its time limit"
    case .killed: "killed"
    case .hostFailure: "ended by a failure of the host"
    }
  }
}
