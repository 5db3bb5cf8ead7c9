import ExoABI

/// A software-defined region, as in Xok: a few bytes that several environments share, finer than a page, where every access
/// is judged by the rule of whoever made it. The bytes are the exokernel's; nobody has them mapped.
struct Region: Sendable {
  static let sizeLimit = 4096
  /// What the rule is told: the operation (0 read, 1 write), offset, length, the caller's number, the maker's number, and
  /// the first 8 bytes that a write would leave at the offset. Its window is the region as it is.
  static let inputs = 6

  enum Operation: UInt64, Sendable { case read, write }

  private(set) var bytes: [UInt8]
  let rule: Rule
  let maker: EnvironmentID

  init(size: Int, rule: Rule, maker: EnvironmentID) {
    bytes = [UInt8](repeating: 0, count: size)
    self.rule = rule
    self.maker = maker
  }

  /// Copies out, if the rule allows it.
  func read(_ range: Range<Int>, by caller: EnvironmentID) throws(Refusal) -> ArraySlice<UInt8> {
    try judge(.read, range, new: [], by: caller)
    return bytes[range]
  }

  /// Copies in, if the rule allows it.
  mutating func write(_ new: [UInt8], at offset: Int, by caller: EnvironmentID) throws(Refusal) {
    let range = offset..<offset + new.count
    try judge(.write, range, new: new, by: caller)
    bytes.replaceSubrange(range, with: new)
  }

  private func judge(
    _ operation: Operation, _ range: Range<Int>, new: [UInt8], by caller: EnvironmentID
  ) throws(Refusal) {
    guard range.lowerBound >= 0, range.upperBound <= bytes.count else { throw .outOfRange }
    let after = new.prefix(8).enumerated().reduce(UInt64(0)) {
      $0 | UInt64($1.element) << UInt64($1.offset * 8)
    }
    let inputs = [
      operation.rawValue, UInt64(range.lowerBound), UInt64(range.count), UInt64(caller.number),
      UInt64(maker.number), after,
    ]
    let verdict = rule.evaluate(inputs: inputs) { offset in
      guard offset >= 0, offset <= bytes.count - 8 else { return nil }
      return (0..<8).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64($1 * 8) }
    }
    guard verdict != 0 else { throw .notPermitted }
  }
}

extension Kernel {
  /// Makes a region and the first capability to it. It is one binding of its maker's quota.
  mutating func createRegion(
    size: Int, ruleAt address: GuestAddress, length: Int, for id: EnvironmentID
  ) throws(Refusal) -> CapabilityHandle {
    var program: [UInt8] = []
    guard let domain = domains[id],
      domain.shell.space.copyIn(address, count: length, memory: memory, to: &program)
    else { throw .badAddress }
    let rule: Rule
    do { rule = try Rule(program, inputs: Region.inputs) } catch { throw .invalid }
    try chargeBindings(1, to: id)
    let number = newRegionNumber()
    do {
      let handle = try capabilities.mint(Authority(.region(number), Resource.Kind.region.rights), in: id)
      regions[number] = Region(size: size, rule: rule, maker: id)
      return handle
    } catch {
      releaseBindings(1, of: id)
      throw Refusal(error)
    }
  }

  /// One access, judged by the region's rule after the capability's rights.
  mutating func accessRegion(
    _ handle: CapabilityHandle, _ operation: Region.Operation, offset: Int, address: GuestAddress,
    length: Int,
    by id: EnvironmentID
  ) throws(Refusal) {
    let resource: Resource
    do {
      resource = try capabilities.lookup(
        handle, in: id, kind: .region, rights: operation == .read ? .read : .write)
    } catch { throw Refusal(error) }
    guard case .region(let number) = resource, let region = regions[number],
      let space = domains[id]?.shell.space
    else { throw .absent }
    switch operation {
    case .read:
      let bytes = try region.read(offset..<offset + length, by: id)
      guard space.copyOut(bytes, to: address, memory: memory) else { throw .badAddress }
    case .write:
      var bytes: [UInt8] = []
      guard space.copyIn(address, count: length, memory: memory, to: &bytes) else { throw .badAddress }
      try regions[number]?.write(bytes, at: offset, by: id)
    }
  }
}
