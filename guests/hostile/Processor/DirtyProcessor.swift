import ExoABI
import HostileSupport
import LibOS

/// A child fills every register it can reach and ends, in each way there is: by a call, by a fault, in the middle of a
/// load, a wide store, a locked operation or a string of loads that KVM has not finished, or killed. The child that gets its
/// virtual processor next writes down every register it finds.
extension Attack {
  static var dirtyProcessor: Attack {
    Attack("dirty-processor", "Leaves every register full for the next environment.") {
      for how in 0..<UInt64(HOSTILE_END_CASES) {
        // Children take turns on two processors; on each, a pair in succession shares a virtual processor.
        for _ in 0..<2 { fill(how) }
        for _ in 0..<2 { look(after: how) }
      }
    }
  }

  private static func fill(_ how: UInt64) {
    var child = Child()
    child.start(HOSTILE_DIRTY, how)
    if how == UInt64(HOSTILE_END_SPIN) {
      let end = milliseconds() + 5
      while milliseconds() < end {}
      exocall(EXO_CALL_environment_end, child.handle, 7)
    }
    let end = child.wait()
    switch how {
    case UInt64(HOSTILE_END_EXIT): expect(end == .exited(0), end.text)
    case UInt64(HOSTILE_END_FAULT): expect(end == .faulted(6), end.text)
    case UInt64(HOSTILE_END_SPIN): expect(end == .killed(7), end.text)
    default: expect(end == .misused, end.text)
    }
  }

  private static func look(after how: UInt64) {
    let mailbox = Mailbox()
    var child = Child()
    child.give(mailbox.pages, at: mailbox.address, Allow.write)
    // A string of loads that goes on for the next environment would store to its stack.
    child.stack.map(at: Place.scratch)
    word(Place.scratch).update(repeating: 0x6b6b_6b6b_6b6b_6b6b, count: 512)
    child.start(HOSTILE_DUMP, mailbox.address)
    let end = child.waitForEnd()
    for index in 0..<512 - 48 where word(Place.scratch)[index] != 0x6b6b_6b6b_6b6b_6b6b {
      succeeded("way \(how): word \(index) of the next environment's stack")
    }
    child.discard()
    expect(end == .exited(0) && mailbox.flag == 1, "way \(how): the next environment: \(end.text)")
    let found = UnsafePointer<hostile_registers>(bitPattern: UInt(mailbox.address) + 512).unsafelyUnwrapped
    // RSI, RDI and RSP are what the exokernel passes; the others are zero.
    let general = UnsafeRawPointer(found).assumingMemoryBound(to: UInt64.self)
    for index in 0..<16 {
      let passed =
        switch index {
        case 4: mailbox.address
        case 5: exo_kit_start
        case 7: Place.childStack - 8
        default: UInt64(0)
        }
      expect(general[index] == passed, "way \(how): general register \(index) holds \(general[index])")
    }
    let registers = found.pointee
    expect(registers.rflags & ~0x202 == 0, "way \(how): flags \(registers.rflags)")
    expect(registers.fs_base == 0 && registers.gs_base == 0, "way \(how): segment bases")
    let bytes = UnsafeRawPointer(found)
    for index in 0..<4 {
      let selector = bytes.load(fromByteOffset: 152 + index * 2, as: UInt16.self)
      expect(selector == UInt16(EXO_USER_SS) || selector == 0, "way \(how): selector \(selector)")
    }
    for index in 0..<8 {
      expect(
        bytes.load(fromByteOffset: 160 + index * 8, as: UInt64.self) == 0,
        "way \(how): mask register \(index)")
    }
    // FXSAVE: control word, status, tags, opcode, pointers; MXCSR at 24; registers from 32 on.
    expect(bytes.load(fromByteOffset: 256, as: UInt16.self) == 0x37f, "way \(how): x87 control word")
    expect(bytes.load(fromByteOffset: 258, as: UInt16.self) == 0, "way \(how): x87 status")
    expect(bytes.load(fromByteOffset: 260, as: UInt8.self) == 0, "way \(how): x87 registers in use")
    expect(bytes.load(fromByteOffset: 280, as: UInt32.self) == 0x1f80, "way \(how): MXCSR")
    for offset in stride(from: 256 + 32, to: 256 + 416, by: 8) {
      expect(
        bytes.load(fromByteOffset: offset, as: UInt64.self) == 0, "way \(how): FXSAVE word at \(offset - 256)"
      )
    }
    for offset in stride(from: 768, to: 768 + 2048, by: 8) {
      expect(
        bytes.load(fromByteOffset: offset, as: UInt64.self) == 0,
        "way \(how): vector word \((offset - 768) / 8)")
    }
    exocall(EXO_CALL_frame_free, mailbox.pages.capability)
  }
}
