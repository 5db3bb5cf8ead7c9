/// Whether a packet could match two filters: what decides who must consent to whose claim.
extension Filter {
  /// False only if no packet matches both.
  ///
  /// Two conditions exclude each other where they ask for different values of the same bit, counted from the same place.
  /// Places are the same as long as both filters got there by the same moves; past that nothing is known of how their
  /// bytes lie, and they count as overlapping.
  public func overlaps(_ other: Filter) -> Bool {
    for (mine, theirs) in zip(segments, other.segments) {
      guard mine.arrival == theirs.arrival else { return true }
      let conditions = Self.conditions(of: mine)
      for (offset, byte) in Self.conditions(of: theirs) where !byte.isCompatible(with: conditions[offset]) {
        return false
      }
    }
    return true
  }

  /// What is asked of the bytes counted from one place.
  static func conditions(of segment: Segment) -> [Int: ByteCondition] {
    var bytes: [Int: ByteCondition] = [:]
    for (field, value) in segment.comparisons {
      for (offset, byte) in ByteCondition.each(field.offset, field.width, field.mask, value) {
        bytes[offset] = byte.and(bytes[offset])
      }
    }
    return bytes
  }
}
