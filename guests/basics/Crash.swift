import GuestRuntime
import LibOS

/// Ends badly, several calls deep, in the way its argument names: what a report of a fault looks like.
func crash() {
  let way = Arguments.count > 1 ? Arguments.all[1] : "null"
  let depth = outer(way, 3)
  print("crash: \(way) came back from \(depth)")
  exit(2)
}

// Each adds to what the next returns, so that none is a tail call and all are on the stack.
@inline(never) private func outer(_ way: String, _ depth: Int) -> Int { middle(way, depth + 1) + 1 }

@inline(never) private func middle(_ way: String, _ depth: Int) -> Int { inner(way, depth * 2) + depth }

@inline(never) private func inner(_ way: String, _ depth: Int) -> Int {
  switch way {
  case "null": writeTo(UInt(depth))
  case "trap": return at(depth, of: [1, 2, 3])
  case "stack": return recurse(depth)
  case "nx": execute(Array(repeating: 0xc3, count: 64))
  case "divide": exo_raise_divide_error()
  case "panic": panic("crash was asked to panic")
  default:
    print("crash: null, trap, stack, nx, divide or panic")
    exit(2)
  }
  return depth
}

@inline(never) private func writeTo(_ address: UInt) {
  UnsafeMutablePointer<UInt8>(bitPattern: address)?.pointee = 1
}

@inline(never) private func at(_ index: Int, of array: [Int]) -> Int { array[index] }

/// Needs more stack than there is. The product keeps the compiler from making a loop of it.
@inline(never) private func recurse(_ depth: Int) -> Int {
  depth == .max ? 0 : recurse(depth + 1) &* 3 &+ depth
}

/// Calls into memory that holds instructions but may not be executed.
@inline(never) private func execute(_ instructions: [UInt8]) {
  instructions.withUnsafeBytes {
    unsafeBitCast($0.baseAddress, to: (@convention(c) () -> Void).self)()
  }
}
