#if hasFeature(Embedded)
  import ExoABI

  /// Several page operations of one kind, carried out in order by as few exocalls as hold them.
  public struct PageVector {
    public enum Operation: UInt64, Sendable { case map, unmap, protect }

    public let operation: Operation
    private var entries: [exo_page_operation] = []

    public init(_ operation: Operation) { self.operation = operation }

    public var count: Int { entries.count }

    /// Adds pages. Unmap and protect leave the capability and its page aside, unmap also the rights.
    public mutating func add(
      at address: UInt64, pages: UInt32 = 1, _ rights: Rights = [], capability: Capability? = nil,
      page: UInt64 = 0
    ) {
      entries.append(
        exo_page_operation(
          address: address, pages: pages, rights: UInt32(rights.rawValue),
          capability: capability?.handle ?? 0, first: page))
    }

    /// Carries the operations out up to the first that is refused. Those before it stand.
    /// - Returns: how many were carried out, and why the next was not.
    public func submit() -> (completed: Int, refusal: ExocallError?) {
      var done = 0
      while done < entries.count {
        let count = min(entries.count - done, Int(EXO_VECTOR_LIMIT))
        let answer = entries.withUnsafeBufferPointer { buffer in
          Exocall.call(
            RingRequest(
              EXO_CALL_page_vector.rawValue, operation.rawValue,
              UInt64(UInt(bitPattern: buffer.baseAddress.unsafelyUnwrapped + done)), UInt64(count)))
        }
        guard let answer else { return (done, .tryAgain) }
        done += Int(answer.values.0)
        if answer.result < 0 {
          return (done, ExocallError(number: Int32(truncatingIfNeeded: -answer.result)))
        }
      }
      return (done, nil)
    }
  }

  extension Exocall {
    /// Pins pages of frames this environment owns: until `unpin` they stay mapped as they are, and so do the frames.
    /// Each page counts as one binding.
    /// - Throws: `invalid`, `notPermitted` for frames of others, `noEntry` if a page is not mapped, `quotaExceeded`.
    public static func pin(_ address: UInt64, pages: UInt64) throws(ExocallError) {
      _ = try make(RingRequest(EXO_CALL_guarantee.rawValue, address, pages, 1))
    }

    /// Takes back a guarantee.
    /// - Throws: `invalid`, `noEntry` if a page is not pinned by this environment.
    public static func unpin(_ address: UInt64, pages: UInt64) throws(ExocallError) {
      _ = try make(RingRequest(EXO_CALL_guarantee.rawValue, address, pages, 0))
    }
  }
#endif
