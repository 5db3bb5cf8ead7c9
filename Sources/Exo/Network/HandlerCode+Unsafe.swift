import CKVM
import ExoABI

/// Where a compiled handler keeps what is not in registers: offsets in bytes.
enum HandlerFrame {
  static let sum: UInt8 = 0, budget: UInt8 = 8, length: UInt8 = 16, count: UInt8 = 24, lengths: UInt8 = 32
  /// The reply, then those that were sent, each with room for the largest packet.
  static let reply = 64
  static let sent = reply + PacketRing.size
  static let size = sent + Int(EXO_HANDLER_SENDS) * PacketRing.size
}

/// A handler's code and the frame it runs on. One run at a time: the network's lock sees to that.
@safe final class HandlerCode {
  private let arena: CodeArena
  private let address: UInt64
  // Invariant: `HandlerFrame.size` bytes from init to deinit; between runs the reply is all zero.
  private let frame: UnsafeMutableRawPointer
  /// What the code has the address of, kept.
  private let region: HandlerRegion?

  /// Nil where no code can be made.
  init?(_ handler: PacketHandler, region: HandlerRegion? = nil) {
    self.region = region
    let bytes = HandlerCompiler.compile(handler, region: region)
    // The arena keeps its first 16 bytes.
    guard let arena = CodeArena(size: (bytes.count + 16 + 4095) & ~4095), let place = arena.append(bytes)
    else { return nil }
    self.arena = arena
    address = arena.base + UInt64(place)
    unsafe frame = .allocate(byteCount: HandlerFrame.size, alignment: 64)
    unsafe frame.initializeMemory(as: UInt8.self, repeating: 0, count: HandlerFrame.size)
  }
  deinit { unsafe frame.deallocate() }

  /// As `PacketHandler.run`.
  func run(on packet: Span<UInt8>, send: (ArraySlice<UInt8>) -> Void) -> PacketHandler.Outcome {
    set(HandlerFrame.sum, 0)
    set(HandlerFrame.budget, UInt64(PacketHandler.byteBudget))
    set(HandlerFrame.length, 0)
    set(HandlerFrame.count, 0)
    // The code reads below the length it is given and writes within the frame and the region: it checks all as the
    // interpreter does.
    let result = unsafe packet.withUnsafeBytes { bytes in
      unsafe ckvm_run_handler(address, bytes.baseAddress, UInt64(bytes.count), frame)
    }
    let length = word(HandlerFrame.length)
    unsafe (frame + HandlerFrame.reply).initializeMemory(as: UInt8.self, repeating: 0, count: length)
    guard result < 2 else { return PacketHandler.Outcome(delivers: true, hasFailed: true) }
    for number in 0..<word(HandlerFrame.count) {
      let start = HandlerFrame.sent + number * PacketRing.size
      let length = word(HandlerFrame.lengths + UInt8(number * 8))
      // Within the frame: no reply is longer than a packet, and no more are sent than there is room for.
      send(unsafe [UInt8](UnsafeRawBufferPointer(start: frame + start, count: length))[...])
    }
    return PacketHandler.Outcome(delivers: result == 1)
  }

  private func set(_ offset: UInt8, _ value: UInt64) {
    unsafe frame.storeBytes(of: value, toByteOffset: Int(offset), as: UInt64.self)
  }
  private func word(_ offset: UInt8) -> Int {
    Int(unsafe frame.load(fromByteOffset: Int(offset), as: UInt64.self))
  }
}

/// A handler that a claim has: compiled if code can be made for it.
struct BoundHandler {
  let handler: PacketHandler
  let region: HandlerRegion?
  let code: HandlerCode?

  /// Most that a machine compiles: code takes pages and mappings of the host's. Others are interpreted.
  static let compiledLimit = 256

  init(_ handler: PacketHandler, region: HandlerRegion?, compiling: Bool) {
    self.handler = handler
    self.region = region
    code = compiling ? HandlerCode(handler, region: region) : nil
  }

  func run(on packet: Span<UInt8>, send: (ArraySlice<UInt8>) -> Void) -> PacketHandler.Outcome {
    if let code { return code.run(on: packet, send: send) }
    return handler.run(on: packet, region: region, send: send)
  }
}
