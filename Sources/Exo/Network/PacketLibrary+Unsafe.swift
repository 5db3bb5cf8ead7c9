import Glibc

/// libpcap, loaded when somebody asks for it: nothing of Exo needs it to be built or to run.
enum PacketLibrary {
  // Of pcap.h: an opaque handle, and `struct bpf_program { u_int bf_len; struct bpf_insn *bf_insns; }`.
  private struct Program {
    var count: UInt32 = 0
    var code: UnsafeMutablePointer<PacketInstruction>?
  }
  private struct PacketInstruction { var code: UInt16, whenTrue: UInt8, whenFalse: UInt8, k: UInt32 }
  private typealias OpenDead = @convention(c) (CInt, CInt) -> OpaquePointer?
  private typealias Compile =
    @convention(c) (
      OpaquePointer?, UnsafeMutableRawPointer?, UnsafePointer<CChar>?, CInt, UInt32
    ) -> CInt
  private typealias ErrorText = @convention(c) (OpaquePointer?) -> UnsafePointer<CChar>?
  private typealias Free = @convention(c) (UnsafeMutableRawPointer?) -> Void
  private typealias Close = @convention(c) (OpaquePointer?) -> Void

  private static let ethernet: CInt = 1
  private static let names = ["libpcap.so.0.8", "libpcap.so.1"]

  /// The program of an expression.
  static func compile(_ expression: String) throws(ExpressionError) -> [PacketProgram.Instruction] {
    guard let library = names.lazy.compactMap({ unsafe dlopen($0, RTLD_NOW) }).first else {
      throw .noCompiler
    }
    defer { unsafe _ = dlclose(library) }
    func symbol<T>(_ name: String, _ type: T.Type) throws(ExpressionError) -> T {
      guard let address = unsafe dlsym(library, name) else { throw .noCompiler }
      // The type is the one that pcap.h declares.
      return unsafe unsafeBitCast(address, to: type)
    }
    let (open, compile) = (
      try symbol("pcap_open_dead", OpenDead.self), try symbol("pcap_compile", Compile.self)
    )
    let (error, free) = (try symbol("pcap_geterr", ErrorText.self), try symbol("pcap_freecode", Free.self))
    let close = try symbol("pcap_close", Close.self)
    guard let handle = unsafe open(ethernet, 65_535) else { throw .noCompiler }
    defer { unsafe close(handle) }
    var program = unsafe Program()
    // Optimised, and no broadcast address known. On success it owns `count` instructions until it is freed.
    guard unsafe compile(handle, &program, expression, 1, UInt32.max) == 0 else {
      let text = unsafe error(handle).map { unsafe String(cString: $0) }
      throw .syntax(text ?? "libpcap refused it")
    }
    defer { unsafe free(&program) }
    return unsafe UnsafeBufferPointer(start: program.code, count: Int(program.count)).map {
      PacketProgram.Instruction(code: $0.code, whenTrue: $0.whenTrue, whenFalse: $0.whenFalse, k: $0.k)
    }
  }
}
