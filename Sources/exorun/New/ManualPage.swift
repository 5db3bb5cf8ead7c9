import ArgumentParser
import JSONText

/// A man page, made of what the argument parser knows of a command: the same as `--help`.
struct ManualPage {
  let name: String
  let text: String

  /// exorun's and each command's.
  static func all() throws -> [ManualPage] {
    let dump = try JSON(parsing: Exorun._dumpHelp())
    let root = dump["command"] ?? dump
    let commands = (root["subcommands"]?.array ?? [])
      .filter { $0["shouldDisplay"]?.bool != false && $0["commandName"]?.string != "help" }
    let names = commands.compactMap { $0["commandName"]?.string }
    var pages = [
      ManualPage(
        root, name: "exorun", usage: "exorun COMMAND [OPTIONS]",
        commands: commands.map { ($0["commandName"]?.string ?? "", $0["abstract"]?.string ?? "") },
        others: names.map { "exorun-\($0)" })
    ]
    for (command, name) in zip(commands, names) {
      let type = Exorun.configuration.subcommands.first { $0._commandName == name }
      pages.append(
        ManualPage(
          command, name: "exorun-\(name)",
          usage: type.map { Exorun.usageString(for: $0) } ?? "exorun \(name)",
          commands: [], others: ["exorun"]))
    }
    return pages
  }

  private init(
    _ command: JSON, name: String, usage: String, commands: [(name: String, abstract: String)],
    others: [String]
  ) {
    self.name = name
    var out =
      ".TH \(name.uppercased().replacing("-", with: "\\-")) 1 \"\" \"exorun \(Exorun.version)\" \"Exo\"\n"
    out += ".SH NAME\n\(Self.escaped(name)) \\- \(Self.escaped(command["abstract"]?.string ?? ""))\n"
    let line = usage.hasPrefix("Usage: ") ? String(usage.dropFirst(7)) : usage
    out += ".SH SYNOPSIS\n.nf\n\(Self.lines(line)).fi\n"
    if let discussion = command["discussion"]?.string { out += ".SH DESCRIPTION\n" + Self.prose(discussion) }
    if !commands.isEmpty {
      out += ".SH COMMANDS\n"
      for (name, abstract) in commands {
        out += ".TP\n.B \(Self.escaped(name))\n\(Self.escaped(abstract))\n"
      }
    }
    let arguments = (command["arguments"]?.array ?? []).filter { $0["shouldDisplay"]?.bool != false }
    if !arguments.isEmpty { out += ".SH OPTIONS\n" + arguments.map(Self.argument).joined() }
    out += ".SH EXIT STATUS\nSee\n.BR exorun\\-launch (1).\n"
    out += ".SH SEE ALSO\n" + others.map { ".BR \(Self.escaped($0)) (1)\n" }.joined(separator: "")
    text = out
  }

  private static func argument(_ argument: JSON) -> String {
    let value = argument["valueName"]?.string ?? ""
    var heading: String
    if argument["kind"]?.string == "positional" {
      heading = "\\fI\(escaped(value.uppercased()))\\fR"
    } else {
      let names = (argument["names"]?.array ?? []).compactMap { name -> String? in
        guard let text = name["name"]?.string else { return nil }
        return (name["kind"]?.string == "long" ? "--" : "-") + text
      }
      // The short form first, as `--help` has it.
      heading = names.sorted { $0.count < $1.count }.map { "\\fB\(escaped($0))\\fR" }.joined(separator: ", ")
      if argument["kind"]?.string == "option" { heading += " \\fI\(escaped(value))\\fR" }
    }
    var body = escaped(argument["abstract"]?.string ?? "")
    if let discussion = argument["discussion"]?.string { body += "\n" + escaped(discussion) }
    if let value = argument["defaultValue"]?.string { body += " (default: \(escaped(value)))" }
    return ".TP\n\(heading)\n\(body)\n"
  }

  /// Paragraphs; lines that are indented stand as they are.
  private static func prose(_ text: String) -> String {
    var out = ""
    var isLiteral = false
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      let literal = line.hasPrefix("  ")
      if literal != isLiteral, !line.isEmpty {
        out += literal ? ".nf\n" : ".fi\n"
        isLiteral = literal
      }
      out += line.isEmpty ? (isLiteral ? "\n" : ".PP\n") : escaped(String(line)) + "\n"
    }
    return isLiteral ? out + ".fi\n" : out
  }

  private static func lines(_ text: String) -> String {
    text.split(separator: "\n").map { escaped(String($0)) + "\n" }.joined()
  }

  private static func escaped(_ text: String) -> String {
    var out = ""
    for character in text {
      switch character {
      case "\\": out += "\\e"
      case "-": out += "\\-"
      case ".", "'":
        if out.isEmpty || out.last == "\n" { out += "\\&" }
        out.append(character)
      default: out.append(character)
      }
    }
    return out
  }
}
