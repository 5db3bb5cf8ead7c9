import GuestRuntime

/// Clock ticks, and the operations that took them.
struct Timing {
  var ticks: UInt64
  var operations: UInt64
  /// What a figure was drawn from, for the host to make sense of.
  var series: [UInt64] = []

  init(_ ticks: UInt64, _ operations: UInt64) {
    self.ticks = ticks
    self.operations = operations
  }
}

/// Times an operation as often as the command says.
@inline(__always)
func timed(_ command: Command, _ body: () -> Void) -> Timing { timed(command.count, body) }

@inline(__always)
func timed(_ count: UInt64, _ body: () -> Void) -> Timing {
  let begin = exo_ticks()
  var left = count
  while left > 0 {
    body()
    left &-= 1
  }
  return Timing(exo_ticks() &- begin, count)
}
