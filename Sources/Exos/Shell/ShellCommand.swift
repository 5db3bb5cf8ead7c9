/// A line of the shell, taken apart: logic without a machine.
///
///     line      = list
///     list      = job { (";" | "&" | "&&" | "||") job }
///     job       = command { "|" command }
///     command   = word { word | ("<" | ">" | ">>" | "2>" | "2>>") word | "2>&1" }
///
/// Words end at blanks. Within `'` nothing is special, within `"` only `$` and `\` are; `\` takes the next character as it is;
/// `$NAME` and `$?` stand for values; `#` begins a comment.
public struct ShellCommand: Equatable, Sendable {
  public var words: [String] = []
  public var input: String?
  public var output: String?
  public var appends = false
  /// Of standard error; nil: the console, or what `errorsToOutput` says.
  public var errors: String?
  public var appendsErrors = false
  /// `2>&1`: they go where the output goes.
  public var errorsToOutput = false

  /// Whether any stream leads elsewhere than the shell's own.
  public var isRedirected: Bool { input != nil || output != nil || errors != nil || errorsToOutput }
}

/// Commands joined by pipes, and what of the one before decides whether they run.
public struct ShellJob: Equatable, Sendable {
  public enum Condition: Equatable, Sendable { case always, ifSucceeded, ifFailed }
  public var commands: [ShellCommand] = []
  public var condition = Condition.always
  public var isBackground = false
}

public enum ShellSyntaxError: Error, Equatable, Sendable, CustomStringConvertible {
  case unfinishedQuote
  case missingCommand
  case missingFile
  case redirectedTwice

  public var description: String {
    switch self {
    case .unfinishedQuote: "a quote is not closed"
    case .missingCommand: "a command is missing"
    case .missingFile: "a redirection names no file"
    case .redirectedTwice: "two redirections of the same stream"
    }
  }
}

public enum ShellParser {
  private enum Token {
    case word(String)
    case sign(String)
  }

  /// - Parameters:
  ///   - line: what was typed.
  ///   - value: of a variable; nil for none, which is an empty text.
  public static func parse(
    _ line: String, value: (String) -> String?
  ) throws(ShellSyntaxError) -> [ShellJob] {
    var jobs: [ShellJob] = []
    var job = ShellJob()
    var command = ShellCommand()
    var redirection: String?
    var isOpen = false
    for token in try tokens(Array(line.utf8), value) {
      switch token {
      case .word(let word):
        isOpen = true
        if let sign = redirection {
          try redirect(&command, sign, word)
          redirection = nil
        } else {
          command.words.append(word)
        }
      case .sign(let sign):
        if redirection != nil { throw .missingFile }
        switch sign {
        case "2>&1":
          guard command.errors == nil, !command.errorsToOutput else { throw .redirectedTwice }
          command.errorsToOutput = true
          isOpen = true
        case "<", ">", ">>", "2>", "2>>":
          redirection = sign
          isOpen = true
        case "|":
          guard !command.words.isEmpty else { throw .missingCommand }
          job.commands.append(command)
          command = ShellCommand()
        default:
          guard !command.words.isEmpty else { throw .missingCommand }
          job.commands.append(command)
          job.isBackground = sign == "&"
          jobs.append(job)
          (job, command, isOpen) = (ShellJob(), ShellCommand(), false)
          job.condition = sign == "&&" ? .ifSucceeded : sign == "||" ? .ifFailed : .always
        }
      }
    }
    if redirection != nil { throw .missingFile }
    if isOpen || !job.commands.isEmpty || job.condition != .always {
      guard !command.words.isEmpty else { throw .missingCommand }
      job.commands.append(command)
      jobs.append(job)
    }
    return jobs
  }

  private static func redirect(
    _ command: inout ShellCommand, _ sign: String, _ file: String
  ) throws(ShellSyntaxError) {
    if sign == "<" {
      guard command.input == nil else { throw .redirectedTwice }
      command.input = file
    } else if sign.utf8.first == 0x32 {
      guard command.errors == nil, !command.errorsToOutput else { throw .redirectedTwice }
      command.errors = file
      command.appendsErrors = sign == "2>>"
    } else {
      guard command.output == nil else { throw .redirectedTwice }
      command.output = file
      command.appends = sign == ">>"
    }
  }

  private static func tokens(_ bytes: [UInt8], _ value: (String) -> String?) throws(ShellSyntaxError)
    -> [Token]
  {
    var found: [Token] = []
    var word: [UInt8]?
    var quote: UInt8 = 0
    var index = 0
    func end() {
      if let text = word { found.append(.word(String(decoding: text, as: UTF8.self))) }
      word = nil
    }
    while index < bytes.count {
      let byte = bytes[index]
      index += 1
      if quote == 0x27 {
        if byte == 0x27 { quote = 0 } else { word?.append(byte) }
        continue
      }
      switch byte {
      case 0x5c where index < bytes.count:
        word = (word ?? []) + [bytes[index]]
        index += 1
      case 0x22:
        quote = quote == 0 ? 0x22 : 0
        word = word ?? []
      case 0x24:
        var name: [UInt8] = []
        if index < bytes.count, bytes[index] == 0x3f {
          name = [0x3f]
          index += 1
        } else {
          while index < bytes.count, isNamePart(bytes[index]) {
            name.append(bytes[index])
            index += 1
          }
        }
        if name.isEmpty {
          word = (word ?? []) + [byte]
        } else {
          let text = value(String(decoding: name, as: UTF8.self)) ?? ""
          if quote != 0 || !text.isEmpty { word = (word ?? []) + Array(text.utf8) }
        }
      case _ where quote != 0: word?.append(byte)
      case 0x27:
        quote = byte
        word = word ?? []
      case 0x23 where word == nil: return found
      case 0x20, 0x09, 0x0a, 0x0d: end()
      case 0x7c, 0x26, 0x3e:  // | & >, alone or twice
        // A 2 alone before it is which stream, unless it was quoted.
        let isErrors =
          byte == 0x3e && word == [0x32] && index > 1 && bytes[index - 2] == 0x32
          && (index == 2 || [0x20, 0x09, 0x7c, 0x26, 0x3b].contains(bytes[index - 3]))
        if isErrors { word = nil }
        end()
        if isErrors, index + 1 < bytes.count, bytes[index] == 0x26, bytes[index + 1] == 0x31 {
          index += 2
          found.append(.sign("2>&1"))
          continue
        }
        let isDouble = index < bytes.count && bytes[index] == byte
        if isDouble { index += 1 }
        let sign = String(decoding: isDouble ? [byte, byte] : [byte], as: UTF8.self)
        found.append(.sign(isErrors ? "2" + sign : sign))
      case 0x3c, 0x3b:
        end()
        found.append(.sign(String(decoding: [byte], as: UTF8.self)))
      default: word = (word ?? []) + [byte]
      }
    }
    if quote != 0 { throw .unfinishedQuote }
    end()
    return found
  }

  private static func isNamePart(_ byte: UInt8) -> Bool {
    byte == 0x5f || byte >= 0x30 && byte <= 0x39 || byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7a
  }
}
