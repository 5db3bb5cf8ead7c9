import ExosFork
import ExosIPC
import ExosProcess
import GuestRuntime
import LibOS

/// Processes that go on as two: what one writes the other does not see, and both come to their ends.
func forks() throws(ExocallError) {
  isolated()
  large()
  nested()
  piped()
  refused()
}

/// A fork's child runs the body and exits with what it gives.
private func fork(
  _ options: Process.ForkOptions = Process.ForkOptions(), _ body: () -> Int32
) -> EnvironmentEnd? {
  do throws(ProcessError) {
    guard var child = try Process.fork(options) else { exit(body()) }
    return try? child.wait()
  } catch {
    print("a fork was refused")
    return nil
  }
}

nonisolated(unsafe) private var global = 1

/// Both change the same page of the heap, of the stack and of the image's data, and each sees its own.
private func isolated() {
  let heap = UnsafeMutablePointer<UInt64>.allocate(capacity: 1024)
  heap.initialize(repeating: 7, count: 1024)
  var local: UInt64 = 7
  global = 7
  let shared: UInt64 = 0x6900_0000_0000
  guard let page = try? Exocall.frameAllocate(count: 1).owner,
    (try? page.map(at: shared, pages: 1, [.read, .write])) != nil
  else { return Promises.check(false, "a page to share") }
  do throws(ProcessError) {
    var options = Process.ForkOptions()
    options.shared = [(address: shared, pages: 1)]
    guard var child = try Process.fork(options) else {
      guard heap[0] == 7, heap[1023] == 7, global == 7, Arguments.name == "processes" else { exit(1) }
      heap[0] = 8
      global = 8
      local = 8
      exo_store64(shared, 1)
      while exo_load64(shared) != 2 { exo_yield(Startup.page.pointee.doorbell, 0) }
      let text = String(repeating: "x", count: 5000)
      exit(heap[0] == 8 && heap[1023] == 7 && global == 8 && local == 8 && text.utf8.count == 5000 ? 42 : 2)
    }
    while exo_load64(shared) != 1, child.poll() == nil { exo_yield(Startup.page.pointee.doorbell, 0) }
    let isOwn = heap[0] == 7 && global == 7 && local == 7
    heap[0] = 9
    heap[1023] = 9
    global = 9
    local = 9
    exo_store64(shared, 2)
    let end = try? child.wait()
    Promises.check(
      isOwn && end == .exited(status: 42),
      "parent and child change the same pages and each sees its own, but for what they share: it ended \(end == nil ? "unseen" : "\(end.unsafelyUnwrapped)")"
    )
    Promises.check(
      heap[0] == 9 && heap[1] == 7 && heap[1023] == 9 && global == 9 && local == 9,
      "what the parent wrote meanwhile is there after the child's end")
  } catch { Promises.check(false, "a fork was refused") }
  heap.deallocate()
  try? Exocall.unmap(shared, pages: 1)
  try? page.drop()
}

private let words = 1 << 18

private func sum(_ memory: UnsafeMutablePointer<UInt64>) -> UInt64 {
  var sum: UInt64 = 0
  for index in 0..<words { sum = sum &* 31 &+ memory[index] }
  return sum
}

/// Two MiB of heap: a child that changes half of it, and a parent that frees memory which its child still reads.
private func large() {
  let memory = UnsafeMutablePointer<UInt64>.allocate(capacity: words)
  for index in 0..<words { memory[index] = UInt64(index) &* 0x9e37_79b9 }
  let before = sum(memory)
  let held = Frames.held
  let end = fork {
    guard sum(memory) == before else { return 1 }
    for index in stride(from: 0, to: words, by: 1024) { memory[index] = 0 }
    let changed = sum(memory)
    memory.deallocate()
    let other = UnsafeMutablePointer<UInt64>.allocate(capacity: words)
    other.initialize(repeating: 3, count: words)
    return changed != before && other[words - 1] == 3 ? 0 : 2
  }
  Promises.check(
    end == .exited(status: 0) && sum(memory) == before,
    "2 MiB are shared, and what the child writes is its own")
  var seen: EnvironmentEnd?
  do throws(ProcessError) {
    guard var child = try Process.fork() else {
      pause(30_000_000)
      exit(sum(memory) == before ? 0 : 3)
    }
    for index in 0..<words where index % 700 == 0 { memory[index] = 1 }
    memory.deallocate()
    Heap.trim()
    seen = try? child.wait()
  } catch { Promises.check(false, "a fork was refused") }
  Promises.check(seen == .exited(status: 0), "memory that the parent changes and frees is the child's still")
  Heap.trim()
  Promises.check(
    Frames.held <= held + 8, "and all is given back: \(held) frames before, \(Frames.held) after")
}

/// A fork within a child within a child.
private func nested() {
  let value = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
  value.pointee = 1
  func options(_ depth: UInt64) -> Process.ForkOptions {
    var options = Process.ForkOptions()
    options.quota = EnvironmentQuota(
      frames: 400 * depth, capabilities: 400 * depth, bindings: 16 * depth, environments: depth - 1)
    return options
  }
  let end = fork(options(3)) {
    value.pointee += 10
    let inner = fork(options(2)) {
      value.pointee += 100
      let innermost = fork(options(1)) { value.pointee == 111 ? value.pointee : 1 }
      return innermost == .exited(status: 111) && value.pointee == 111 ? 55 : 2
    }
    return inner == .exited(status: 55) && value.pointee == 11 ? 66 : 3
  }
  Promises.check(end == .exited(status: 66) && value.pointee == 1, "a child forks, and its child does")
  value.deallocate()
}

/// A pipe made before the fork carries what the child writes.
private func piped() {
  do throws(ExocallError) {
    var frames = try PipeFrames(capacity: 4096)
    let memory = try frames.map(at: Company.pipe)
    var options = Process.ForkOptions()
    options.shared = [(address: Company.pipe, pages: frames.pages)]
    do throws(ProcessError) {
      guard var child = try Process.fork(options) else {
        var writer = PipeWriter(memory, to: .unknown)
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 3000, alignment: 16)
        bytes.initializeMemory(as: UInt8.self, repeating: 5)
        for _ in 0..<10 where (try? writer.write(UnsafeRawBufferPointer(bytes))) != 3000 { exit(1) }
        writer.close()
        exit(0)
      }
      var reader = PipeReader(memory, from: .unknown)
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
      var total = 0
      while let count = try? reader.read(into: bytes), count > 0 {
        for byte in bytes[..<count] where byte == 5 { total += 1 }
      }
      let end = try? child.wait()
      bytes.deallocate()
      Promises.check(
        total == 30_000 && end == .exited(status: 0),
        "\(total) bytes from a child through a pipe from before the fork")
    } catch { Promises.check(false, "a fork was refused") }
    try Exocall.unmap(Company.pipe, pages: frames.pages)
    frames.release()
  } catch { Promises.check(false, "a pipe could not be made") }
}

/// Without frames for the copy, or a quota that is too small for the child, there is an error and nothing else.
private func refused() {
  let value = UnsafeMutablePointer<UInt64>.allocate(capacity: 4096)
  value.initialize(repeating: 5, count: 4096)
  func failure(_ options: Process.ForkOptions) -> ProcessError? {
    do throws(ProcessError) {
      guard var child = try Process.fork(options) else { exit(0) }
      _ = try? child.wait()
      return nil
    } catch { return error }
  }
  var small = Process.ForkOptions()
  small.quota = EnvironmentQuota(frames: 4, capabilities: 64, bindings: 8)
  Promises.check(
    failure(small) == .exocall(.quotaExceeded), "a child without frames for its tables is refused")
  // All but a few of the frames are taken: what the machine has, or what this environment may hold. The few are enough for a child's
  // tables and not for its copies, be it that the tables are new or that they are another's who has ended.
  var taken: [Capability] = []
  taken.reserveCapacity(4096)
  var options = Process.ForkOptions()
  options.quota = EnvironmentQuota(frames: 64, capabilities: 64, bindings: 8)
  let spare = try? Exocall.frameAllocate(count: 40)
  var size: UInt64 = 1 << 16
  while size > 0, taken.count < 4096 {
    if let grant = try? Exocall.frameAllocate(count: size) { taken.append(grant.owner) } else { size /= 2 }
  }
  try? spare?.owner.drop()
  let error = failure(options)
  for capability in taken { try? capability.drop() }
  Promises.check(
    error == .exocall(.quotaExceeded) || error == .exocall(.outOfMemory),
    "out of frames while it copies, a fork says so")
  var isRight = true
  for index in 0..<4096 {
    isRight = isRight && value[index] == 5
    value[index] = 6
  }
  Promises.check(
    isRight && fork { value[4095] == 6 ? 0 : 1 } == .exited(status: 0), "and the next one is made")
  value.deallocate()
}
