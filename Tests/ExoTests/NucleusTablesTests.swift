import ExoABI
import Testing

@testable import Exo

/// The tables the processor reads, decoded as the processor would (Intel SDM 3A: 3.4.5, 6.14, 7.7).
@Suite struct NucleusTablesTests {
  struct Gate: Equatable {
    var target: UInt64
    var selector: Int32
    var stack: Int
    var type: UInt64
    var privilege: UInt64
    var isPresent: Bool

    init(_ low: UInt64, _ high: UInt64) {
      target = low & 0xffff | (low >> 48) << 16 | (high & 0xffff_ffff) << 32
      selector = Int32(low >> 16 & 0xffff)
      stack = Int(low >> 32 & 7)
      type = low >> 40 & 0xf
      privilege = low >> 45 & 3
      isPresent = low >> 47 & 1 == 1
      // System segment bit and everything reserved.
      #expect(low >> 44 & 1 == 0 && low >> 35 & 0x1f == 0 && high >> 32 == 0)
    }
  }

  private let memory: PhysicalMemory
  private let tables = NucleusTables(data: Frame(3), idt: Frame(5))

  init() throws {
    memory = try PhysicalMemory(size: 1 << 20)
    tables.initialize(in: memory)
  }

  private func data(_ offset: Int32) -> UInt64 {
    memory.load(PhysicalAddress(tables.data.address.value + UInt64(offset)))
  }
  private func gate(_ vector: UInt8) -> Gate {
    let at = tables.idt.address.value + UInt64(vector) * 16
    return Gate(memory.load(PhysicalAddress(at)), memory.load(PhysicalAddress(at + 8)))
  }
  private func stack(_ slot: Int32) -> UInt64 {
    let at = tables.data.address.value + UInt64(EXO_NUCLEUS_TSS_OFFSET) + 0x24 + UInt64(slot - 1) * 8
    let low = memory.load32(PhysicalAddress(at))
    let high = memory.load32(PhysicalAddress(at + 4))
    return UInt64(high) << 32 | UInt64(low)
  }
  private static let vectors = (0..<UInt8(EXO_VECTOR_COUNT)).map(ExceptionVector.init)
  private static let own: Set<UInt8> = [2, 8, 18]

  private func expectUnbound(_ vector: ExceptionVector) {
    let found = gate(vector.number)
    #expect(found.target == exo_nucleus_text + UInt64(vector.number) * 16, "\(vector)")
    #expect(found.selector == EXO_NUCLEUS_CS)
    let slot = Self.own.contains(vector.number) ? EXO_IST_DOUBLE_FAULT : EXO_IST_NUCLEUS
    #expect(found.stack == Int(slot), "\(vector)")
    #expect(found.type == 0xf && found.isPresent)
    #expect(found.privilege == ([.breakpoint, .overflow].contains(vector) ? 3 : 0), "\(vector)")
  }

  @Test func everyVectorStartsWithTheNucleus() {
    for vector in Self.vectors { expectUnbound(vector) }
    #expect(stack(EXO_IST_NUCLEUS) == exo_kit_trap + UInt64(EXO_TRAP_NUCLEUS_TOP))
    #expect(stack(EXO_IST_DOUBLE_FAULT) == exo_kit_trap + UInt64(EXO_TRAP_DOUBLE_FAULT_TOP))
    #expect(stack(EXO_IST_TRANSFER) == exo_nucleus_transfer + UInt64(EXO_TRANSFER_FRAME_TOP))
  }

  @Test func directGates() {
    for vector in Self.vectors where vector.isBindable {
      let handler = GuestAddress(0x7abc_def1_2345 + UInt64(vector.number))
      tables.bindDirect(vector, handler: handler, in: memory)
      let found = gate(vector.number)
      #expect(found.target == handler.value && found.selector == EXO_USER_CS, "\(vector)")
      #expect(found.stack == vector.stackSlot && found.stack != 0)
      #expect(![EXO_IST_NUCLEUS, EXO_IST_DOUBLE_FAULT, EXO_IST_TRANSFER].contains(Int32(found.stack)))
      #expect(found.type == 0xf && found.isPresent)
      #expect(found.privilege == ([.breakpoint, .overflow].contains(vector) ? 3 : 0))
    }
    // Its neighbours are as they were.
    for vector in Self.vectors where !vector.isBindable { expectUnbound(vector) }
    for vector in Self.vectors where vector.isBindable {
      tables.unbind(vector, in: memory)
      expectUnbound(vector)
    }
  }

  @Test func pageFaultWithAddress() {
    let top: UInt64 = 0x7000_0000_1000
    tables.bindPageFaultWithAddress(handler: GuestAddress(0x40_1234), stackTop: top, in: memory)
    let found = gate(14)
    #expect(found.target == exo_nucleus_text + UInt64(EXO_NUCLEUS_PF_ADDRESS_STUB))
    #expect(found.selector == EXO_NUCLEUS_CS && found.stack == Int(EXO_IST_PAGE_FAULT))
    #expect(found.privilege == 0 && found.type == 0xf)
    let frame = (0..<5).map { data(EXO_NUCLEUS_RETURN_OFFSET + $0 * 8) }
    // The stub left CR2 seven words down: SS, RSP, RFLAGS, CS, RIP, error code, address.
    #expect(frame == [0x40_1234, UInt64(EXO_USER_CS), 0x202, top - 56, UInt64(EXO_USER_SS)])
  }

  @Test func stacksAreSetApart() {
    for slot in 1...7 as ClosedRange<Int32> {
      tables.setStack(slot: Int(slot), top: 0x1111_2222_0000 + UInt64(slot), in: memory)
    }
    for slot in 1...7 as ClosedRange<Int32> { #expect(stack(slot) == 0x1111_2222_0000 + UInt64(slot)) }
    // Reserved words and the map base around them.
    #expect(memory.load32(PhysicalAddress(tables.data.address.value + UInt64(EXO_NUCLEUS_TSS_OFFSET))) == 0)
    #expect(data(EXO_NUCLEUS_TSS_OFFSET + 0x60) >> 48 == 0x68)
  }

  /// No port is open to ring 3: the map begins past the segment's end.
  @Test func taskStateSegment() {
    let low = data(EXO_TSS_SELECTOR)
    let high = data(EXO_TSS_SELECTOR + 8)
    let base = low >> 16 & 0xff_ffff | (low >> 56) << 24 | high << 32
    let limit = low & 0xffff | low >> 32 & 0xf_0000
    #expect(base == exo_nucleus_data + UInt64(EXO_NUCLEUS_TSS_OFFSET))
    #expect(limit == 0x67)
    #expect(low >> 40 & 0x9f == 0x89, "an available 64-bit task segment, present")
    #expect(low >> 45 & 3 == 0 && low >> 55 & 1 == 0 && high >> 32 == 0)
    #expect(data(EXO_NUCLEUS_TSS_OFFSET + 0x60) >> 48 > limit)
    // With no stack of ring 0, a gate without an interrupt stack would fault rather than push somewhere.
    for offset in [4, 12, 20] as [UInt64] {
      let at = tables.data.address.value + UInt64(EXO_NUCLEUS_TSS_OFFSET) + offset
      #expect(memory.load32(PhysicalAddress(at)) == 0 && memory.load32(PhysicalAddress(at + 4)) == 0)
    }
  }

  @Test func segments() {
    struct Segment {
      let type: UInt64
      let isCodeOrData: Bool
      let privilege: UInt64
      let isPresent: Bool
      let isLong: Bool
      init(_ bits: UInt64) {
        type = bits >> 40 & 0xf
        isCodeOrData = bits >> 44 & 1 == 1
        privilege = bits >> 45 & 3
        isPresent = bits >> 47 & 1 == 1
        isLong = bits >> 53 & 1 == 1
      }
      var isCode: Bool { isCodeOrData && type & 8 != 0 }
    }
    let used: Set<Int32> = [
      EXO_NUCLEUS_CS, EXO_NUCLEUS_SS, EXO_USER_SS & ~7, EXO_USER_CS & ~7, EXO_TSS_SELECTOR,
      EXO_TSS_SELECTOR + 8, EXO_ABSENT_SELECTOR & ~7,
    ]
    for selector in stride(from: Int32(0), to: EXO_NUCLEUS_TSS_OFFSET, by: 8) {
      let bits = data(selector)
      guard used.contains(selector) else {
        #expect(bits == 0, "selector \(selector)")
        continue
      }
      if selector == EXO_TSS_SELECTOR || selector == EXO_TSS_SELECTOR + 8 { continue }
      let segment = Segment(bits)
      #expect(segment.isCodeOrData, "no call gate, no LDT: selector \(selector)")
      // No 32-bit code segment: compatibility mode has ways into the kernel of its own.
      #expect(segment.isCode == segment.isLong, "selector \(selector)")
      #expect(segment.isPresent == (selector != EXO_ABSENT_SELECTOR & ~7))
      let ring3: Set<Int32> = [EXO_USER_SS & ~7, EXO_USER_CS & ~7, EXO_ABSENT_SELECTOR & ~7]
      #expect(segment.privilege == (ring3.contains(selector) ? 3 : 0))
      #expect(segment.isCode == [EXO_NUCLEUS_CS, EXO_USER_CS & ~7].contains(selector))
      // Data is writable, code is not conforming.
      #expect(segment.isCode ? segment.type & 4 == 0 : segment.type & 2 != 0)
    }
  }

  @Test func vectorsKeptByTheNucleus() {
    let kept = Set(Self.vectors.filter { !$0.isBindable }.map(\.number))
    #expect(kept.isSuperset(of: Self.own))
    // Reserved vectors, and those the processor no longer raises.
    #expect(kept == Self.own.union([9, 15]).union(20..<32))
    for vector in Self.vectors {
      #expect(vector.hasErrorCode == [8, 10, 11, 12, 13, 14, 17].contains(vector.number), "\(vector)")
    }
  }

  @Test func reportsNameTheVector() {
    for vector in Self.vectors {
      let stub = exo_nucleus_text + UInt64(vector.number) * 16
      // KVM leaves RIP at the instruction or past its two bytes.
      for rip in [stub, stub + 2] {
        #expect(NucleusText.report(instructionPointer: rip) == .exception(vector))
      }
    }
    for offset in [0, 2] as [UInt64] {
      let at = exo_nucleus_text + UInt64(EXO_NUCLEUS_NO_ENTRY_STUB) + offset
      #expect(NucleusText.report(instructionPointer: at) == .systemCall)
    }
    for rip in [0, 0x40_0000, exo_nucleus_text - 1, exo_nucleus_text + 0x200, exo_nucleus_data, .max] {
      #expect(NucleusText.report(instructionPointer: rip) == nil)
    }
  }
}

/// What a new environment's page tables hold before it has anything of its own.
@Suite struct NucleusShellTests {
  struct Leaf {
    var address: UInt64
    var entry: PageTableEntry
    var isUser: Bool
    var isWritable: Bool
    var isExecutable: Bool
  }

  /// Every present leaf of both halves, with the rights the whole walk gives it; the window on the tables apart.
  static func leaves(of space: AddressSpace, in memory: PhysicalMemory) -> (all: [Leaf], window: [Leaf]) {
    var found: [Leaf] = []
    func visit(_ table: PhysicalAddress, _ level: UInt64, _ base: UInt64, _ and: UInt64, _ noExecute: Bool) {
      for index in 0..<512 as Range<UInt64> {
        let entry = memory.entry(at: PhysicalAddress(table.value + index * 8))
        guard entry.isPresent else { continue }
        var address = base | index << (12 + 9 * level)
        if level == 3, index >= 256 { address |= 0xffff_0000_0000_0000 }
        let rights = and & entry.bits
        let blocked = noExecute || entry.bits & PageTableEntry.noExecute != 0
        if level == 0 {
          found.append(
            Leaf(
              address: address, entry: entry, isUser: rights & PageTableEntry.user != 0,
              isWritable: rights & PageTableEntry.writable != 0, isExecutable: !blocked))
        } else {
          #expect(entry.bits & PageTableEntry.large == 0)
          visit(entry.address, level - 1, address, rights, blocked)
        }
      }
    }
    visit(space.root.address, 3, 0, .max, false)
    let window = exo_kit_tables..<exo_kit_tables_end
    return (found.filter { !window.contains($0.address) }, found.filter { window.contains($0.address) })
  }

  private func check(_ shell: Shell, _ kernel: borrowing Kernel) {
    let (leaves, window) = Self.leaves(of: shell.space, in: kernel.memory)
    let supervisor = leaves.filter { !$0.isUser }
    #expect(
      Set(supervisor.map(\.address)) == [
        exo_nucleus_text, exo_nucleus_data, exo_nucleus_idt, exo_nucleus_transfer,
      ])
    for leaf in supervisor {
      // A transfer pushes its frame to one; no environment can have anything else pushed there.
      #expect(
        leaf.isWritable == (leaf.address == exo_nucleus_transfer),
        "\(hexadecimal(leaf.address)) is writable, or not")
      #expect(leaf.isExecutable == (leaf.address == exo_nucleus_text))
      #expect(leaf.entry.granted.isEmpty)
    }
    let kit: [UInt64: Rights] = [
      exo_kit_start: .read, exo_kit_machine: .read, exo_kit_submission: [.read, .write],
      exo_kit_completion: .read, exo_kit_trap: [.read, .write], exo_kit_doorbell: [.read, .write],
      exo_kit_frames: .read, exo_kit_events: .read,
    ]
    let user = leaves.filter(\.isUser)
    #expect(Set(user.map(\.address)) == Set(kit.keys))
    for leaf in user {
      #expect(leaf.entry.rights == kit[leaf.address], "\(hexadecimal(leaf.address))")
      #expect(!leaf.isExecutable && leaf.entry.isPinned && leaf.entry.granted.isEmpty)
    }
    // No frame of a table or of the nucleus is open to the environment under another name.
    let forbidden = Set(shell.space.tables + [shell.tables.data, shell.tables.idt, kernel.nucleusText])
    for leaf in user {
      guard let frame = kernel.frame(at: leaf.entry.address) else { continue }
      #expect(!forbidden.contains(frame))
    }
    #expect(kernel.frame(at: Kernel.doorbell) == nil)
    // The window shows the tables of the user half, and the root; it lets nobody write or run them.
    let tables = Set(shell.space.tables)
    var shown: Set<Frame> = []
    for leaf in window where leaf.isUser {
      guard let frame = kernel.frame(at: leaf.entry.address), tables.contains(frame) else {
        // A last-level table seen one level further down shows the pages under it: those that the walk
        // through the kit reaches too.
        Issue.record("\(hexadecimal(leaf.address)) shows \(leaf.entry.address)")
        continue
      }
      shown.insert(frame)
      #expect(!leaf.isWritable && !leaf.isExecutable, "\(hexadecimal(leaf.address))")
    }
    #expect(shown.contains(shell.space.root))
    for leaf in window where !leaf.isUser { #expect(!leaf.isWritable && !leaf.isExecutable) }
  }

  @Test func freshShell() throws {
    var kernel = try Kernel(memory: PhysicalMemory(size: 4 << 20))
    let before = kernel.frames.freeCount
    let shell = try kernel.takeShell()
    check(shell, kernel)
    #expect(before - kernel.frames.freeCount == shell.space.tables.count + 9)
    #expect(before - kernel.frames.freeCount <= Shell.framesNeeded)
  }

  /// Two environments share the nucleus's text and the machine page, nothing else.
  @Test func shellsShareOnlyWhatIsForAll() throws {
    var kernel = try Kernel(memory: PhysicalMemory(size: 4 << 20))
    let (a, b) = (try kernel.takeShell(), try kernel.takeShell())
    func frames(_ shell: Shell) -> Set<PhysicalAddress> {
      Set(Self.leaves(of: shell.space, in: kernel.memory).all.map(\.entry.address))
    }
    let shared: Set<PhysicalAddress> = [
      kernel.nucleusText.address, kernel.machinePage.address, Kernel.doorbell,
    ]
    #expect(frames(a).intersection(frames(b)) == shared)
    #expect(Set(a.space.tables).isDisjoint(with: b.space.tables))
  }

  /// A used shell shows its next environment nothing of the last one.
  @Test func usedShellIsClean() throws {
    var kernel = try Kernel(memory: PhysicalMemory(size: 4 << 20))
    let memory = kernel.memory
    let first = try kernel.takeShell()
    for frame in [first.start, first.submission, first.completion, first.trap, first.frameList, first.events]
    {
      for word in 0..<512 as Range<UInt64> {
        memory.store(.max, PhysicalAddress(frame.address.value + word * 8))
      }
    }
    for number in 0..<32 as Range<UInt8> where ExceptionVector(number).isBindable {
      first.tables.bindDirect(ExceptionVector(number), handler: GuestAddress(0x40_0000), in: memory)
    }
    first.tables.setStack(slot: Int(EXO_IST_NUCLEUS), top: 0, in: memory)
    kernel.giveBack(first)
    let second = try kernel.takeShell()
    #expect(second.space.root == first.space.root)
    for frame in [
      second.start, second.submission, second.completion, second.trap, second.frameList, second.events,
    ] {
      let words = (0..<512 as Range<UInt64>).map {
        memory.load(PhysicalAddress(frame.address.value + $0 * 8))
      }
      #expect(words.allSatisfy { $0 == 0 })
    }
    check(second, kernel)
    for number in 0..<32 as Range<UInt64> {
      let low = memory.load(PhysicalAddress(second.tables.idt.address.value + number * 16))
      #expect(Int32(low >> 16 & 0xffff) == EXO_NUCLEUS_CS, "vector \(number)")
    }
  }

  /// Too little memory for a shell: refused, and every frame is free and clean again.
  @Test func outOfMemory() throws {
    var kernel = try Kernel(memory: PhysicalMemory(size: 1 << 20))
    while kernel.frames.freeCount > Shell.framesNeeded {
      _ = kernel.frames.allocate(upTo: 1, kind: .data, owner: EnvironmentID(9))
    }
    var left = kernel.frames.freeCount
    while left > 0 {
      do {
        _ = try kernel.takeShell()
      } catch {
        #expect(error == .noMemory)
        #expect(kernel.frames.freeCount == left)
        for n in 0..<kernel.frames.count where kernel.frames.isFree(Frame(UInt32(n))) {
          let base = Frame(UInt32(n)).address.value
          let isClean = (0..<512 as Range<UInt64>).allSatisfy {
            kernel.memory.load(PhysicalAddress(base + $0 * 8)) == 0
          }
          #expect(isClean, "frame \(n)")
        }
      }
      _ = kernel.frames.allocate(upTo: 1, kind: .data, owner: EnvironmentID(9))
      left = kernel.frames.freeCount
    }
  }
}
