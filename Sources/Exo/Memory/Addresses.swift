import ExoABI

/// A linear address inside an environment. No conversion to the other kinds of address is implicit: only a walk
/// of that environment's page table gives a `PhysicalAddress`.
public struct GuestAddress: Hashable, Comparable, Sendable, BitwiseCopyable, CustomStringConvertible {
  public var value: UInt64
  public init(_ value: UInt64) { self.value = value }

  public static func < (a: Self, b: Self) -> Bool { a.value < b.value }
  public var description: String { hexadecimal(value) }

  /// The address within its page, 0..<4096.
  var pageOffset: Int { Int(value & 0xfff) }
  var isPageAligned: Bool { value & 0xfff == 0 }
  func advanced(byPages pages: Int) -> GuestAddress { GuestAddress(value &+ UInt64(pages) << 12) }
}

/// An address in the machine's physical memory, as page-table entries hold it.
public struct PhysicalAddress: Hashable, Comparable, Sendable, CustomStringConvertible {
  public var value: UInt64
  public init(_ value: UInt64) { self.value = value }

  public static func < (a: Self, b: Self) -> Bool { a.value < b.value }
  public var description: String { hexadecimal(value) }

  /// Where the machine's memory begins: above 4 GiB, which leaves everything below to devices.
  static let memoryBase: UInt64 = 0x1_0000_0000
}

/// The name of a 4 KiB page of physical memory: its index from the start of memory.
public struct Frame: Hashable, Comparable, Sendable, BitwiseCopyable, CustomStringConvertible {
  public let number: UInt32
  public init(_ number: UInt32) { self.number = number }

  public static func < (a: Self, b: Self) -> Bool { a.number < b.number }
  public var description: String { "frame \(number)" }
  public var address: PhysicalAddress {
    PhysicalAddress(PhysicalAddress.memoryBase + UInt64(number) << 12)
  }
  func advanced(by count: Int) -> Frame { Frame(number &+ UInt32(truncatingIfNeeded: count)) }
}

/// `0x` and lower-case digits.
func hexadecimal<T: BinaryInteger>(_ value: T) -> String { "0x" + String(value, radix: 16) }
