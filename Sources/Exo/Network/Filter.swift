/// A condition on a packet's bytes, and nothing else: a conjunction of masked comparisons, at offsets that are constant or
/// follow from header fields. Being no program but a declaration, any number of them can be merged into one structure and
/// compared with one another, as in DPF (Engler and Kaashoek, "DPF: Fast, Flexible Message Demultiplexing Using
/// Dynamic Code Generation", SIGCOMM 1996).
///
///     let web: Filter = .ethernet.ipv4.to(IPv4Address(10, 0, 0, 1)).tcp(destinationPort: 80)
///
/// A packet that ends before a byte that is compared does not match.
public struct Filter: Hashable, Sendable {
  /// What is compared, and where the place from which offsets count moves on.
  enum Step: Hashable, Sendable {
    case compare(FilterField, UInt32)
    case advance(FilterAdvance)
  }
  let steps: [Step]

  /// Most comparisons and moves of a filter.
  static let stepLimit = 32
  /// Matches every packet.
  public static let everything = Filter(sorted: [])

  /// In the one order that equal conditions have, so that filters with a common beginning share it.
  fileprivate init(sorted steps: [Step]) { self.steps = steps }
}

/// Some bits of a packet, as a number in network order.
struct FilterField: Hashable, Comparable, Sendable {
  /// Bytes from where offsets count now; -1: the protocol that the last `extensionHeaders` came to, which has `width` 1.
  var offset: Int
  /// Bytes: 1, 2 or 4.
  var width: Int
  var mask: UInt32

  static let headerProtocol = FilterField(offset: -1, width: 1, mask: 0xff)
  var isProtocol: Bool { offset < 0 }

  static func < (a: Self, b: Self) -> Bool { (a.offset, a.width, a.mask) < (b.offset, b.width, b.mask) }
}

/// How the place from which offsets count moves on.
enum FilterAdvance: Hashable, Sendable {
  /// By a length that a byte holds: the byte under the mask, shifted to the left (to the right if negative), in bytes.
  case headerLength(offset: Int, mask: UInt8, shift: Int)
  /// By 4 for each 802.1Q or 802.1ad tag where an EtherType is expected, at most two.
  case vlanTags(offset: Int)
  /// From an IPv6 header at `offset` to what its extension headers lead to, at most seven of them. A fragment that is not the
  /// first leads to nothing.
  case extensionHeaders(offset: Int)
}

/// Why a filter cannot be.
public enum FilterError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Two of its comparisons exclude each other: no packet would match.
  case contradiction(offset: Int)
  case tooLong(steps: Int)
  case badField(offset: Int, width: Int)
  /// The classifier has no room for one more of this form.
  case tooComplex
  case full(limit: Int)

  public var description: String {
    switch self {
    case .contradiction(let offset): "the filter asks for two values of the byte at \(offset)"
    case .tooLong(let steps): "the filter has \(steps) steps, at most \(Filter.stepLimit) are allowed"
    case .badField(let offset, let width): "no field has \(width) bytes at offset \(offset)"
    case .tooComplex: "too many filters compare different fields at the same place"
    case .full(let limit): "there are \(limit) filters already"
    }
  }
}

extension Filter {
  /// Between two moves: what is known of the bytes counted from one place.
  struct Segment: Sendable {
    /// The move that led here; nil for the packet's first byte.
    var arrival: FilterAdvance?
    var comparisons: [(field: FilterField, value: UInt32)]
  }

  /// Checks steps and puts them in order.
  init(_ steps: [Step]) throws(FilterError) {
    var result: [Step] = []
    for segment in Self.segments(of: steps) {
      if let arrival = segment.arrival { result.append(.advance(arrival)) }
      result += try Self.merged(segment.comparisons)
    }
    guard result.count <= Self.stepLimit else { throw .tooLong(steps: result.count) }
    self.init(sorted: result)
  }

  private static func segments(of steps: [Step]) -> [Segment] {
    var segments = [Segment(arrival: nil, comparisons: [])]
    for step in steps {
      switch step {
      case .compare(let field, let value): segments[segments.count - 1].comparisons.append((field, value))
      case .advance(let advance): segments.append(Segment(arrival: advance, comparisons: []))
      }
    }
    return segments
  }
  var segments: [Segment] { Self.segments(of: steps) }

  /// One comparison for each field, in order; those that compare nothing are left out.
  private static func merged(_ comparisons: [(field: FilterField, value: UInt32)]) throws(FilterError)
    -> [Step]
  {
    struct Place: Hashable { var offset: Int, width: Int }
    var fields: [Place: (mask: UInt32, value: UInt32)] = [:]
    for (field, value) in comparisons {
      guard [1, 2, 4].contains(field.width), (-1...65_535).contains(field.offset) else {
        throw .badField(offset: field.offset, width: field.width)
      }
      let mask = field.mask & (field.width == 4 ? .max : UInt32(1) << UInt32(field.width * 8) - 1)
      let place = Place(offset: field.offset, width: field.width)
      let known = fields[place] ?? (0, 0)
      guard (known.value ^ value) & known.mask & mask == 0 else { throw .contradiction(offset: field.offset) }
      fields[place] = (known.mask | mask, known.value & known.mask | value & mask)
    }
    let kept = fields.filter { $0.value.mask != 0 }
    // Fields of different widths may still lie over one another.
    var bytes: [Int: ByteCondition] = [:]
    for (place, condition) in kept {
      for (offset, byte) in ByteCondition.each(place.offset, place.width, condition.mask, condition.value) {
        guard byte.isCompatible(with: bytes[offset]) else { throw .contradiction(offset: offset) }
        bytes[offset] = byte.and(bytes[offset])
      }
    }
    return kept.map {
      (field: FilterField(offset: $0.offset, width: $0.width, mask: $1.mask), value: $1.value)
    }
    .sorted { $0.field < $1.field }.map { .compare($0.field, $0.value) }
  }

  /// How many bits are compared: of the filters that match a packet, the one with most gets it.
  public var specificity: Int {
    steps.reduce(0) { sum, step in
      if case .compare(let field, _) = step { sum + field.mask.nonzeroBitCount } else { sum }
    }
  }
}

/// What is asked of one byte.
struct ByteCondition: Hashable, Sendable {
  var mask: UInt8
  var value: UInt8

  func isCompatible(with other: ByteCondition?) -> Bool {
    guard let other else { return true }
    return (value ^ other.value) & mask & other.mask == 0
  }
  func and(_ other: ByteCondition?) -> ByteCondition {
    guard let other else { return self }
    return ByteCondition(mask: mask | other.mask, value: value & mask | other.value & other.mask)
  }

  /// The bytes of a field, the highest first, with their offsets. The protocol is a byte of its own at -1.
  static func each(_ offset: Int, _ width: Int, _ mask: UInt32, _ value: UInt32) -> [(Int, ByteCondition)] {
    (0..<width).map { index in
      let shift = UInt32(8 * (width - 1 - index))
      return (
        offset + index,
        ByteCondition(
          mask: UInt8(truncatingIfNeeded: mask >> shift),
          value: UInt8(truncatingIfNeeded: (value & mask) >> shift))
      )
    }
  }
}
