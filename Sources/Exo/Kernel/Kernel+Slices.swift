import ExoABI

/// Ownership of time slices. The vectors themselves belong to the processors; what is here says who may bind which slot.
extension Kernel {
  /// Takes slots of a processor's vector that nobody owns: those asked for, or the first free run.
  mutating func allocateSlices(
    processor: Int, first wanted: Int?, count: Int, for id: EnvironmentID
  ) throws(Refusal) -> (CapabilityHandle, first: Int) {
    guard processor < sliceOwners.count else { throw .invalid }
    let owners = sliceOwners[processor]
    guard owners.count(where: { $0 != nil }) + count <= SliceVector.ownable else { throw .noSpace }
    func isFree(_ first: Int) -> Bool { (first..<first + count).allSatisfy { owners[$0] == nil } }
    let first: Int
    if let wanted {
      guard isFree(wanted) else { throw .busy }
      first = wanted
    } else {
      guard let found = (0...SliceVector.count - count).first(where: isFree) else { throw .noSpace }
      first = found
    }
    guard let run = Run(first: UInt32(first), count: UInt32(count)) else { throw .invalid }
    let authority = Authority(.slices(processor: UInt32(processor), run), Resource.Kind.slices.rights)
    let handle: CapabilityHandle
    do { handle = try capabilities.mint(authority, in: id) } catch { throw Refusal(error) }
    for slot in first..<first + count { sliceOwners[processor][slot] = id }
    return (handle, first)
  }

  /// The slots that a request names, if the capability gives control of them.
  func slices(
    _ handle: CapabilityHandle, first: Int, count: Int, in id: EnvironmentID
  ) throws(Refusal) -> (processor: Int, slots: Range<Int>) {
    let resource: Resource
    do { resource = try capabilities.lookup(handle, in: id, kind: .slices, rights: .control) } catch {
      throw Refusal(error)
    }
    guard case .slices(let processor, let run) = resource else { throw .badCapability }
    guard first + count <= Int(run.count) else { throw .outOfRange }
    let low = Int(run.first) + first
    return (Int(processor), low..<low + count)
  }

  /// The first capability to these slots is gone: they are free, and nobody runs in them.
  mutating func freeSlices(processor: UInt32, _ run: Run<UInt32>) {
    if let owner = sliceOwners[Int(processor)][Int(run.first)] { creditSlices(Int(run.count), to: owner) }
    for slot in run.first..<run.end { sliceOwners[Int(processor)][Int(slot)] = nil }
    freedSlices.append((Int(processor), Int(run.first)..<Int(run.end)))
  }
}
