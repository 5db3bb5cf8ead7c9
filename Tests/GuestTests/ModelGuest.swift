import ExoABI

@testable import Exo

/// One guest of the model test: an environment that runs `ModelProgram`, and the test's view of it.
final class ModelGuest {
  /// Which of the machine's guests; the word of a page that it writes.
  let index: Int
  let environment: Environment
  var id: EnvironmentID { environment.id }
  let probes: [UInt64]
  /// What it needs to run, and which is left alone.
  let essential: Set<CapabilityHandle>
  /// The first of the command page's frames; the records follow.
  let command: Frame
  private var taken: UInt32 = 0
  var history = ModelHistory()

  /// Side by side, two of them the first and last of a table.
  static let dense: [UInt64] = (0..<6).map { 0x50_001f_d000 + $0 << 12 }
  /// Where huge pages may be, each in a table of its own; and their first page, one in the middle and the last.
  static let huge: [UInt64] = (0..<6).map { 0x60_0020_0000 + $0 * 0x4020_0000 }
  static let inHuge: [UInt64] = huge.flatMap { base in [0, 100, 511].map { base + $0 << 12 } }
  /// Each under tables of its own.
  static let sparse: [UInt64] =
    (1...20).map { 0x100_0000_0000 * $0 + 0x7000 * $0 }
    + (1...12).map { 0x4000_0000 * $0 + 0x20_0000 * $0 + 0x1000 }

  static func offset(of index: Int) -> UInt64 { UInt64(64 * (1 + index)) }

  init(_ index: Int, life: Int, in machine: Machine, random: inout some RandomNumberGenerator, epoch: UInt64)
    throws
  {
    self.index = index
    probes = Self.dense + Self.inHuge + Self.sparse.shuffled(using: &random).prefix(12)
    let image = try GuestImage(name: "model", bytes: ModelProgram.image)
    environment = try machine.launch(image, arguments: ["model"], memory: 2500 << 12)
    let (id, probes) = (environment.id, probes)
    // The guest waits for the word on its stack until all is there.
    (command, essential) = try machine.withKernel { (kernel) throws(Refusal) in
      let pages = 1 + Int(ModelProgram.recordCount) * 32 / 4096
      let (handle, run) = try kernel.allocateFrames(nil, count: pages, alignment: 8, for: id)
      try kernel.map(
        handle, offset: 0, at: GuestAddress(ModelProgram.commandPage), pages: pages, rights: [.read, .write],
        in: id)
      let base = run.first.address.value
      let header: [(UInt64, UInt64)] = [
        (0, epoch), (8, UInt64(probes.count)), (32, UInt64(index + 1) << 56 | UInt64(life & 0xffff) << 40),
        (40, Self.offset(of: index)),
      ]
      for (offset, value) in header { kernel.memory.store(value, PhysicalAddress(base + offset)) }
      for (number, address) in probes.enumerated() {
        kernel.memory.store(address, PhysicalAddress(base + 128 + UInt64(number) * 64))
      }
      try Self.bindHandler(0, of: id, &kernel)
      if let space = kernel.domains[id]?.shell.space {
        let top = space.entry(of: GuestAddress(ModelProgram.goAhead & ~0xfff), in: kernel.memory)
        kernel.memory.store(1, PhysicalAddress(top.address.value + ModelProgram.goAhead & 0xfff))
      }
      return (run.first, Set(kernel.capabilities.entries(of: id).map(\.handle)))
    }
  }

  /// Both handlers do the same, and the lower half of the stack is as good as the upper.
  static func bindHandler(_ which: Int, of id: EnvironmentID, _ kernel: inout Kernel) throws(Refusal) {
    let low = exo_stack_top - UInt64(EXO_STACK_PAGES) << 12
    try kernel.bindException(
      .pageFault, handler: GuestAddress(ModelProgram.handlers[which]), stackTop: GuestAddress(low + 0x800),
      withAddress: false, in: id)
  }

  private func field(_ offset: UInt64) -> PhysicalAddress { PhysicalAddress(command.address.value + offset) }
  func setEpoch(_ epoch: UInt64, in memory: PhysicalMemory) { memory.store(epoch, field(0)) }
  func passes(in memory: PhysicalMemory) -> UInt64 { memory.load(field(48)) }

  /// Takes what the guest has told. Returns how much, and what of it cannot be.
  func drain(_ memory: PhysicalMemory) -> (count: Int, wrong: [String]) {
    var (count, wrong): (Int, [String]) = (0, [])
    let written = memory.load32(field(16))
    while taken != written {
      let at = 4096 + UInt64(taken % ModelProgram.recordCount) * 32
      let (epoch, outcome) = (memory.load(field(at)), memory.load(field(at + 8)))
      let (kind, address) = (memory.load(field(at + 16)), memory.load(field(at + 24)))
      if let problem = history.whatIsWrong(with: outcome, kind: kind, at: address, since: epoch) {
        wrong.append("guest \(index), \(id): \(problem)")
      }
      taken &+= 1
      count += 1
    }
    memory.store32(taken, field(24))
    return (count, wrong)
  }
}
