import ExoABI

/// What a capability lets its holder do with the object it names. The three lowest bits are those of `Rights`.
///
/// Nobody needs a right to narrow, give up or take back what came from an entry of their own: each can only
/// lessen authority. Handing it to another environment is what `grant` guards.
struct CapabilityRights: OptionSet, Hashable, Sendable, CustomStringConvertible {
  let rawValue: UInt32

  /// Frames, extents: load from it. Address space: walk its page table.
  static let read = CapabilityRights(rawValue: UInt32(EXO_READ))
  /// Frames, extents: store to it. Address space: change its mappings.
  static let write = CapabilityRights(rawValue: UInt32(EXO_WRITE))
  /// Frames: fetch instructions from it.
  static let execute = CapabilityRights(rawValue: UInt32(EXO_EXECUTE))
  /// Hand it, or a narrower form of it, to another environment.
  static let grant = CapabilityRights(rawValue: 1 << 3)
  /// Environment: start, stop, end it. Gate, event, filter: bind and unbind it. Slices: run in them, donate them.
  static let control = CapabilityRights(rawValue: 1 << 4)
  /// Environment, filter: read its state.
  static let inspect = CapabilityRights(rawValue: 1 << 5)
  /// Gate: enter it. Filter: claim some of what it matches. Template: send what it matches.
  static let call = CapabilityRights(rawValue: 1 << 6)
  /// Event: post it.
  static let signal = CapabilityRights(rawValue: 1 << 7)
  /// Environment: put capabilities into its table. Without it anyone could exhaust a stranger's quota.
  static let deliver = CapabilityRights(rawValue: 1 << 8)

  init(rawValue: UInt32) { self.rawValue = rawValue }
  init(_ rights: Rights) { self.init(rawValue: rights.rawValue) }

  /// The part a mapping can use.
  var memory: Rights { Rights(rawValue: rawValue).intersection(.all) }

  /// As `ls` would show it, one letter a right; `-` for none.
  var description: String {
    let letters = zip("rwxgciksd", 0...).filter { rawValue >> $0.1 & 1 != 0 }.map(\.0)
    let unknown = rawValue >> 9
    return (letters.isEmpty ? "-" : String(letters)) + (unknown == 0 ? "" : "+\(hexadecimal(unknown << 9))")
  }
}
