import CKVM
import Glibc

/// Reading and writing a connection without waiting.
enum ControlSocket {
  enum Received {
    case bytes([UInt8])
    case later
    case end
  }

  static func receive(_ socket: Int32, limit: Int) -> Received {
    var failed = false
    var code: Int32 = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
      // Initialises as many bytes as it returns.
      let got = unsafe recv(socket, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
      failed = got < 0
      code = errno
      count = max(0, got)
    }
    if failed { return code == EAGAIN || code == EINTR ? .later : .end }
    return bytes.isEmpty ? .end : .bytes(bytes)
  }

  /// How many bytes were taken; nil if the connection is broken.
  static func send(_ socket: Int32, _ bytes: ArraySlice<UInt8>) -> Int? {
    // The slice is not changed meanwhile.
    let result = unsafe bytes.withUnsafeBytes {
      unsafe ckvm_socket_send(socket, $0.baseAddress!, CInt(min($0.count, 1 << 20)))
    }
    if result < 0 { return result == -EAGAIN || result == -EINTR ? 0 : nil }
    return Int(result)
  }
}
