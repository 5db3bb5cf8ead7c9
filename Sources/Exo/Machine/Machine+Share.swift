/// Frames that two environments share from their start: what each calls its capability to them.
public struct Share: Hashable, Sendable {
  public let pages: Int
  /// Handle of the capability of the one who owns them. It has every right, and the frames end with it.
  public let owner: UInt64
  /// Handle of the capability of the other, derived from the owner's.
  public let receiver: UInt64
}

/// Why frames could not be shared.
public enum ShareError: Error, Hashable, Sendable, CustomStringConvertible {
  case badPageCount(Int, limit: Int)
  /// No rights, or some that page tables cannot give without that to read.
  case badRights(Rights)
  /// The machine has not that many free frames side by side.
  case outOfMemory(pages: Int, found: Int)
  /// One of the two may not have that much more.
  case quotaExceeded(String, QuotaKind, asked: Int)
  case hasEnded(String)

  public var description: String {
    switch self {
    case .badPageCount(let pages, let limit): "\(pages) pages cannot be shared, but 1 to \(limit)"
    case .badRights(let rights):
      "\(rights) are no rights to share with: whoever writes or executes also reads"
    case .outOfMemory(let pages, let found):
      "the machine has not \(pages) free frames side by side, but \(found); give it more memory"
    case .quotaExceeded(let name, let kind, let asked):
      "the quota of \(name) does not allow it \(asked) more \(kind)"
    case .hasEnded(let name): "\(name) has ended"
    }
  }
}

extension Machine {
  /// Allocates frames, side by side and zero, for one environment and gives another a capability to them.
  ///
  /// - Parameters:
  ///   - pages: how many.
  ///   - owner: who holds them.
  ///   - receiver: who gets them too.
  ///   - rights: what the receiver may do with them; to hand them on is not among it.
  public func share(
    pages: Int, from owner: Environment, to receiver: Environment, rights: Rights
  ) throws(ShareError) -> Share {
    guard pages > 0, pages <= Exocall.pageLimit else {
      throw .badPageCount(pages, limit: Exocall.pageLimit)
    }
    guard rights.contains(.read) else { throw .badRights(rights) }
    return try withKernel { (kernel) throws(ShareError) in
      let allowance = kernel.capabilities.quotas.account(of: owner.id)?.available(.frames)
      guard let allowance else { throw .hasEnded(owner.name) }
      guard allowance >= UInt64(pages) else { throw .quotaExceeded(owner.name, .frames, asked: pages) }
      let root: CapabilityHandle
      do {
        let (handle, run) = try kernel.allocateFrames(nil, count: pages, for: owner.id)
        root = handle
        guard run.count == pages else {
          try kernel.drop(root, in: owner.id)
          throw ShareError.outOfMemory(pages: pages, found: run.count)
        }
      } catch let error as ShareError {
        throw error
      } catch {
        // Frames were there, so either none is free at all or the table is full.
        throw error as? Refusal == .quota
          ? .quotaExceeded(owner.name, .capabilities, asked: 1) : .outOfMemory(pages: pages, found: 0)
      }
      do throws(CapabilityError) {
        let handle = try kernel.capabilities.grant(
          root, from: owner.id, to: receiver.id, rights: CapabilityRights(rights))
        return Share(pages: pages, owner: root.rawValue, receiver: handle.rawValue)
      } catch {
        // Nothing stands on it yet, so nothing refuses.
        do { try kernel.drop(root, in: owner.id) } catch { kernel.logFault("taking a share back: \(error)") }
        if case .quota = error { throw .quotaExceeded(receiver.name, .capabilities, asked: 1) }
        throw .hasEnded(receiver.name)
      }
    }
  }
}
