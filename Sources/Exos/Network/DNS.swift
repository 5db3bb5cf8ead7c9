/// A question to a name server and the reading of its answer (RFC 1035).
public struct DNSQuery: Equatable, Sendable {
  public enum Kind: UInt16, Sendable {
    case a = 1
    case aaaa = 28
  }
  public static let port: UInt16 = 53
  public let kind: Kind
  public let identifier: UInt16
  /// The name's labels in lower case.
  private let labels: [[UInt8]]

  /// Nil for what is no name.
  public init?(_ name: String, _ kind: Kind, identifier: UInt16) {
    var labels = Array(name.utf8).split(separator: 46, omittingEmptySubsequences: false).map {
      $0.map(Self.lowered)
    }
    if labels.last?.isEmpty ?? false { labels.removeLast() }
    guard !labels.isEmpty, labels.allSatisfy({ (1...63).contains($0.count) }),
      labels.reduce(1, { $0 + $1.count + 1 }) <= 255
    else { return nil }
    self.labels = labels
    self.kind = kind
    self.identifier = identifier
  }
  private static func lowered(_ byte: UInt8) -> UInt8 { (65...90).contains(byte) ? byte + 32 : byte }

  public var message: [UInt8] {
    var message: [UInt8] = []
    message.append(half: identifier)
    message += [1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    for label in labels { message += [UInt8(label.count)] + label }
    message.append(0)
    message.append(half: kind.rawValue)
    message.append(half: 1)
    return message
  }

  public enum Answer: Equatable, Sendable {
    case addresses([IPAddress])
    /// There is no such name, or it has no address of this kind, or the server does not say.
    case none
  }

  /// Nil for what is no answer to this question.
  public func answer(in message: ArraySlice<UInt8>) -> Answer? {
    guard message.half(0) == identifier, let flags = message.half(2), flags & 0x8000 != 0,
      message.half(4) == 1,
      let count = message.half(6), let (asked, end) = Self.name(at: 12, in: message), asked == labels,
      message.half(end) == kind.rawValue, message.half(end + 2) == 1
    else { return nil }
    guard flags & 15 == 0 else { return Answer.none }
    var at = end + 4
    // A name may stand for another, which stands for another.
    var wanted = labels
    var found: [IPAddress] = []
    for _ in 0..<count {
      guard let (owner, next) = Self.name(at: at, in: message), let type = message.half(next),
        let length = message.half(next + 8).map(Int.init), next + 10 + length <= message.count
      else { break }
      let data = next + 10
      if owner == wanted {
        switch type {
        case 1 where kind == .a && length == 4:
          if let word = message.word(data) { found.append(.v4(IPv4Address(bits: word))) }
        case 28 where kind == .aaaa && length == 16:
          if let wide = message.wide(data) { found.append(.v6(wide)) }
        case 5:
          if let (alias, _) = Self.name(at: data, in: message) { wanted = alias }
        default: break
        }
      }
      at = data + length
    }
    return found.isEmpty ? Answer.none : .addresses(found)
  }

  /// A name, and where what follows it begins. Pointers lead back only, so that there is an end to it.
  private static func name(at offset: Int, in message: ArraySlice<UInt8>) -> (labels: [[UInt8]], end: Int)? {
    var labels: [[UInt8]] = []
    var (at, end): (Int, Int?) = (offset, nil)
    var (bytes, lowest) = (0, offset)
    while let length = message.byte(at) {
      switch length >> 6 {
      case 0:
        if length == 0 { return (labels, end ?? at + 1) }
        bytes += Int(length) + 1
        guard bytes <= 255, at + 1 + Int(length) <= message.count else { return nil }
        labels.append(message.rest(at + 1).prefix(Int(length)).map(lowered))
        at += 1 + Int(length)
      case 3:
        guard let pointer = message.half(at), case let target = Int(pointer & 0x3fff), target < lowest else {
          return nil
        }
        if end == nil { end = at + 2 }
        (at, lowest) = (target, target)
      default: return nil
      }
    }
    return nil
  }
}
