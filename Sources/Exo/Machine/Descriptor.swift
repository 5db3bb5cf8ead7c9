import Glibc

/// A file descriptor of the host, closed when its owner goes.
struct Descriptor: ~Copyable, Sendable {
  let number: CInt
  init(_ number: CInt) { self.number = number }
  deinit { _ = Glibc.close(number) }
}

/// A refusal by the host's kernel, with the call that was refused.
public struct HostError: Error, Hashable, Sendable, CustomStringConvertible {
  public let operation: String
  /// The host's errno, positive.
  public let code: Int32
  init(_ operation: String, _ result: CInt) {
    self.operation = operation
    self.code = -result
  }
  public var description: String { "\(operation): \(errorText(code)) (errno \(code))" }
}

/// The host's words for an errno.
func errorText(_ code: Int32) -> String {
  guard let text = unsafe strerror(code) else { return "error \(code)" }
  return unsafe String(cString: text)
}

/// Turns a CKVM result into a value or a `HostError` that names the operation.
@discardableResult
func check(_ operation: @autoclosure () -> String, _ result: CInt) throws(HostError) -> CInt {
  guard result >= 0 else { throw HostError(operation(), result) }
  return result
}
