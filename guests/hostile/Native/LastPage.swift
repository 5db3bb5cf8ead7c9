import ExoABI
import HostileSupport
import LibOS

/// SYSCALL leaves the address after it in RCX, and SYSRETQ goes there; where that is no address a processor may fault in ring 0, on
/// the caller's stack. So nothing can be mapped in the last page below the end of the user half.
extension Attack {
  static var lastPage: Attack {
    Attack("last-page", "Has SYSCALL come back to where there is no address.") {
      catchExceptions()
      let page = Pages(1).map(at: Place.scratch)
      let last: UInt64 = 0x7fff_ffff_f000
      let child = Child()
      expectRefused(
        exocall(EXO_CALL_map, page.capability, 0, last, 1, Allow.code), EXO_EINVAL,
        for: "mapping the last page")
      expectRefused(
        exocall(EXO_CALL_map, page.capability, 0, last - 4096, 2, Allow.code), EXO_EINVAL,
        for: "mapping across")
      expectRefused(
        exocall(EXO_CALL_environment_map, child.handle, page.capability, last, 1 << 32, Allow.code),
        EXO_EINVAL,
        for: "mapping the last page of a child")
      for call in [EXO_CALL_unmap, EXO_CALL_protect, EXO_CALL_guarantee] {
        expectRefused(exocall(call, last, 1, 1), EXO_EINVAL, for: "call \(call.rawValue) on the last page")
      }
      child.discard()
      expectFault(hostile_call, at: last, "call")
      expectFault(hostile_call, at: last + 0xffe, "call")
      // What comes next to it: the address after is one, and has nothing.
      for number: UInt8 in [0xff, 0xfe, 0xb3, 5] { leave(page, by: last - 4096, number) }
      exocall(EXO_CALL_unmap, Place.scratch, 1)
      exocall(EXO_CALL_frame_free, page.capability)
    }
  }

  /// A page that ends in SYSCALL, in a child.
  private static func leave(_ page: Pages, by last: UInt64, _ number: UInt8) {
    // mov $number, %rax, sign-extended; then nops to the last two bytes.
    let bytes = UnsafeMutablePointer<UInt8>(bitPattern: UInt(Place.scratch)).unsafelyUnwrapped
    for index in 0..<4096 { bytes[index] = 0x90 }
    let high: UInt8 = number < 0x80 ? 0 : 0xff
    for (index, byte) in ([0x48, 0xc7, 0xc0, number, high, high, high] as [UInt8]).enumerated() {
      bytes[index] = byte
    }
    bytes[4094] = 0x0f
    bytes[4095] = 0x05
    var child = Child()
    child.give(page, at: last, Allow.code)
    child.start(at: last)
    let end = child.wait()
    guard NucleusCalls.areOffered, number >= 0x80 else {
      // Where nothing answers, SYSCALL itself is the end.
      return expect(end.how == Int64(EXO_ENDED_FAULTED), "number \(number): \(end.text)")
    }
    expect(end == .faulted(14, at: last + 4096), "past the last address, number \(number): \(end.text)")
  }
}
