import Glibc

/// The Swift runtime's demangler; the host's libswiftCore exports it for tools.
@_silgen_name("swift_demangle")
private func swiftDemangle(
  _ name: UnsafePointer<CChar>?, _ length: Int, _ buffer: UnsafeMutablePointer<CChar>?,
  _ bufferSize: UnsafeMutablePointer<Int>?, _ flags: UInt32
) -> UnsafeMutablePointer<CChar>?

/// What the runtime makes of a mangled name; nil if it is none.
func runtimeDemangled(_ name: String) -> String? {
  // The name is NUL-ended for the call's duration; the result is a NUL-ended string that is ours to free.
  unsafe name.withCString { pointer in
    guard let result = unsafe swiftDemangle(pointer, name.utf8.count, nil, nil, 0) else { return nil }
    defer { unsafe free(result) }
    return unsafe String(cString: result)
  }
}
