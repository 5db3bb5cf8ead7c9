import Glibc
import TestSupport

@testable import Exo

/// A filter as a classic BPF program (McCanne and Jacobson, USENIX 1993), for an interpreter that is not ours.
enum ClassicBPF {
  /// Layout of `struct bpf_insn`.
  struct Instruction {
    var code: UInt16
    var whenTrue: UInt8 = 0
    var whenFalse: UInt8 = 0
    var k: UInt32
  }
  // BPF_LD|BPF_W|BPF_ABS and so on.
  private static let loads: [Int: UInt16] = [1: 0x30, 2: 0x28, 4: 0x20]
  private static let indexedLoads: [Int: UInt16] = [1: 0x50, 2: 0x48, 4: 0x40]

  /// Nil for a filter that moves in a way the old machine has no words for.
  static func program(_ filter: Filter) -> [Instruction]? {
    var code: [Instruction] = []
    var indexed = false
    var tests: [Int] = []
    for step in filter.steps {
      switch step {
      case .compare(let field, let value):
        guard !field.isProtocol, let load = (indexed ? indexedLoads : loads)[field.width] else { return nil }
        code.append(Instruction(code: load, k: UInt32(field.offset)))
        code.append(Instruction(code: 0x54, k: field.mask))  // and
        tests.append(code.count)
        code.append(Instruction(code: 0x15, k: value))  // jeq
      case .advance(.headerLength(let offset, 0x0f, 2)) where !indexed:
        // ldxb 4*([k]&0xf)
        code.append(Instruction(code: 0xb1, k: UInt32(offset)))
        indexed = true
      case .advance: return nil
      }
    }
    code.append(Instruction(code: 0x06, k: 1))  // ret 1
    code.append(Instruction(code: 0x06, k: 0))
    guard code.count < 250 else { return nil }
    for test in tests { code[test].whenFalse = UInt8(code.count - 1 - (test + 1)) }
    return code
  }
}

/// libpcap, if it is installed: loaded while the tests run, so that nothing needs it to be built.
final class LibPCAP {
  private typealias Run = @convention(c) (UnsafeRawPointer?, UnsafePointer<UInt8>?, UInt32, UInt32) -> UInt32
  private let handle: UnsafeMutableRawPointer
  private let filter: Run

  init?() {
    guard let handle = dlopen("libpcap.so.0.8", RTLD_NOW) ?? dlopen("libpcap.so.1", RTLD_NOW) else {
      return nil
    }
    guard let symbol = dlsym(handle, "bpf_filter") else {
      dlclose(handle)
      return nil
    }
    self.handle = handle
    filter = unsafeBitCast(symbol, to: Run.self)
  }
  deinit { dlclose(handle) }

  func run(_ program: [ClassicBPF.Instruction], _ packet: [UInt8]) -> Bool {
    program.withUnsafeBytes { code in
      packet.withUnsafeBufferPointer {
        filter(code.baseAddress, $0.baseAddress, UInt32($0.count), UInt32($0.count)) != 0
      }
    }
  }
}

extension Requirement {
  static let libpcap = Requirement(
    name: "libpcap",
    missing: LibPCAP() == nil ? "libpcap is not installed: sudo apt-get install -y libpcap0.8" : nil)
}
