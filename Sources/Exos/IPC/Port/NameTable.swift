/// Names and what they stand for: logic without a machine. Who registered a name may change or remove it, nobody else.
public struct NameTable {
  public enum Failure: UInt32, Error, Sendable {
    case unknown = 1
    case taken = 2
    case notOwner = 3
    case malformed = 4
    case full = 5
  }

  public static var longestName: Int { 64 }
  private struct Entry {
    var name: [UInt8]
    var owner: UInt32
    var right: UInt64
  }
  private var entries: [Entry] = []
  private let limit: Int

  public init(limit: Int = 256) { self.limit = limit }

  /// A right stands behind one name: who registers another's again could have it taken back with his own.
  /// - Parameters:
  ///   - name: what it is to be found under.
  ///   - owner: who asks, as the service knows him.
  ///   - right: the right to send to it.
  public mutating func register(_ name: UnsafeRawBufferPointer, owner: UInt32, right: UInt64) throws(Failure)
  {
    guard Self.isWellFormed(name), !entries.contains(where: { $0.right == right }) else { throw .malformed }
    if let index = index(of: name) {
      guard entries[index].owner == owner else { throw .taken }
      entries[index].right = right
      return
    }
    guard entries.count < limit else { throw .full }
    entries.append(Entry(name: Array(name), owner: owner, right: right))
  }

  public func lookUp(_ name: UnsafeRawBufferPointer) throws(Failure) -> UInt64 {
    guard let index = index(of: name) else { throw .unknown }
    return entries[index].right
  }

  public mutating func remove(_ name: UnsafeRawBufferPointer, owner: UInt32) throws(Failure) {
    guard let index = index(of: name) else { throw .unknown }
    guard entries[index].owner == owner else { throw .notOwner }
    entries.remove(at: index)
  }

  /// Takes back all that somebody registered, as when he has ended; the rights.
  public mutating func removeAll(of owner: UInt32) -> [UInt64] {
    let gone = entries.filter { $0.owner == owner }.map { $0.right }
    entries.removeAll { $0.owner == owner }
    return gone
  }

  public var count: Int { entries.count }

  /// Printable ASCII without spaces.
  private static func isWellFormed(_ name: UnsafeRawBufferPointer) -> Bool {
    !name.isEmpty && name.count <= longestName && name.allSatisfy { $0 > 0x20 && $0 < 0x7f }
  }
  private func index(of name: UnsafeRawBufferPointer) -> Int? {
    entries.firstIndex { $0.name.count == name.count && $0.name.elementsEqual(name) }
  }
}
