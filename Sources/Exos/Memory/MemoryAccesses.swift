/// One stretch of memory that an instruction touches.
public struct MemoryAccess: Equatable, Sendable {
  public enum Kind: Sendable {
    case read, write
    /// Read, written or both: which, the fault's error code tells.
    case either
  }
  public var address: UInt64
  /// Bytes, at least 1.
  public var size: Int
  public var kind: Kind
  /// A mask decides which parts are touched, perhaps none.
  public var isMasked = false

  static var nothing: MemoryAccess { MemoryAccess(address: 0, size: 1, kind: .read) }
}

/// What an instruction touches, in the order that the processor does.
public struct MemoryAccesses {
  static var most: Int { 4 }
  private var list = InlineArray<4, MemoryAccess>(repeating: .nothing)
  public private(set) var count = 0

  public subscript(index: Int) -> MemoryAccess {
    precondition(index >= 0 && index < count)
    return list[index]
  }
  mutating func add(_ access: MemoryAccess) {
    list[count] = access
    count += 1
  }

  /// The address that a page fault was about: the first one touched that may not be. Nil if none explains the fault or
  /// it cannot be told which of two does.
  /// - Parameters:
  ///   - isWrite: as the error code says.
  ///   - mayAccess: whether the page of an address allows what was tried.
  public func faulting(isWrite: Bool, mayAccess: (UInt64) -> Bool) -> UInt64? {
    for index in 0..<count {
      let access = list[index]
      switch access.kind {
      case .read where isWrite, .write where !isWrite: continue
      default: break
      }
      let second = (access.address &+ UInt64(access.size - 1)) & ~4095
      let straddles = second != access.address & ~4095
      if !mayAccess(access.address) {
        // The mask may have left out all that lies in the first page.
        if access.isMasked, straddles, !mayAccess(second) { return nil }
        return access.address
      }
      if straddles, !mayAccess(second) { return second }
    }
    return nil
  }
}

/// What is known of an instruction.
public enum InstructionDecoding {
  /// It touches memory.
  case accesses(MemoryAccesses)
  /// It touches none but where it lies itself.
  case noAccess
  /// Not an instruction that the decoder knows, or one that depends on registers that were not given.
  case unknown
}
