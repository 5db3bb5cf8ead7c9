import ExoABI

/// What is still to be done of a control transfer, in a stub of the nucleus: from one of its instructions on.
enum TransferStep: Hashable, Sendable {
  /// PKRU becomes 0 first: so many bytes of that are done.
  case forget(Int)
  /// The slot is loaded for the value of RAX,
  case load
  /// or that of the only connection.
  case loadAlone
  case switchSpace
  case leave

  /// - Parameter offset: of an instruction, within the nucleus's text. Nil if it is in none of these stubs.
  init?(offset: Int64) {
    let before = offset - Int64(EXO_NUCLEUS_TRANSFER_KEYS_STUB)
    let selecting = offset - Int64(EXO_NUCLEUS_TRANSFER_STUB)
    let alone = offset - Int64(EXO_NUCLEUS_TRANSFER_ALONE_STUB)
    switch (before, selecting, alone) {
    case (0..<Int64(EXO_NUCLEUS_TRANSFER_KEYS_SIZE), _, _): self = .forget(Int(before))
    // Lengths of the instructions: and 5, mov 7, mov 3, iretq 2.
    case (_, 0..<12, _): self = .load
    case (_, 12..<15, _), (_, _, 8..<11): self = .switchSpace
    case (_, 15..<17, _), (_, _, 11..<13): self = .leave
    // mov 8.
    case (_, _, 0..<8): self = .loadAlone
    default: return nil
    }
  }
}
