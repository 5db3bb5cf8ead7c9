import LibOS

/// Copies its input to its output, byte for byte.
func cat() {
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 4096)
  do throws(ExocallError) {
    while true {
      let count = try Console.read(into: buffer)
      if count == 0 { exit(0) }
      try Console.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
  } catch {
    exit(1)
  }
}
