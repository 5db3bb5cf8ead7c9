import ExoABI
import LibOS
import LibOSCHeader

// The part of exo.h that ends in the LibOS. The rest is C, in LibOSCHeader.

@c(exo_write)
func write(_ bytes: UnsafeRawPointer, _ count: Int) -> Int64 {
  attempt { () throws(ExocallError) in
    try Console.write(UnsafeRawBufferPointer(start: bytes, count: count))
    return 0
  }
}

@c(exo_console_read)
func consoleRead(_ bytes: UnsafeMutableRawPointer, _ size: Int) -> Int64 {
  attempt { () throws(ExocallError) in
    Int64(try Console.read(into: UnsafeMutableRawBufferPointer(start: bytes, count: size)))
  }
}

@c(exo_exit)
func exitGuest(_ status: Int32) -> Never { exit(status) }

@c(exo_argument_count)
func argumentCount() -> Int { Arguments.count }

@c(exo_argument)
func argument(_ index: UInt) -> UnsafePointer<CChar>? {
  index < UInt(Arguments.count) ? Arguments.bytes(Int(index)) : nil
}

@c(exo_variable_count)
func variableCount() -> Int { Variables.count }

@c(exo_variable_text)
func variableText(_ index: Int) -> UnsafePointer<CChar> { Variables.bytes(index) }

@c(exo_now)
func now() -> UInt64 { Clock.now }

@c(exo_exocall)
func exocall(
  _ number: UInt32, _ arguments: UnsafePointer<UInt64>, _ values: UnsafeMutablePointer<UInt64>?
) -> Int64 {
  let request = RingRequest(
    number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4])
  guard let answer = Exocall.call(request) else { return Int64(-EXO_EAGAIN) }
  if let values {
    (values[0], values[1], values[2], values[3], values[4]) = answer.values
  }
  return answer.result
}

/// The result, or the number of the error, negative.
private func attempt(_ body: () throws(ExocallError) -> Int64) -> Int64 {
  do throws(ExocallError) { return try body() } catch { return -Int64(error.number) }
}
