import LibOS

/// A child's quota is part of its parent's, and comes back at its end.
func quotas() throws(ExocallError) {
  let free = Frames.limit - Frames.held
  let most = EnvironmentQuota(frames: free / 4 * 3)
  Heap.trim()
  let held = Frames.held
  var rounds = 0
  for round in 0..<20 {
    var child = try Child.make(most) { _ in 5 }
    if round == 0 {
      Promises.refused(.quotaExceeded, "what one child has, a second cannot get") {
        () throws(ExocallError) in _ = try Environment.create(most)
      }
    }
    try child.start()
    if try child.wait() == .exited(status: 5) { rounds += 1 }
  }
  Promises.check(rounds == 20, "20 children in turn had most of the frames")
  // Its page tables reach where this environment's did not.
  Heap.trim()
  Promises.check(
    Frames.held <= held + 4, "and all came back: \(held) frames held before, \(Frames.held) after")
  try bounded()
}

/// A child cannot consume more than it was given.
private func bounded() throws(ExocallError) {
  let quota = EnvironmentQuota(frames: 160, capabilities: 64, environments: 2)
  var child = try Child.make(quota) { _ in
    var problems: Int32 = 0
    let nothing = EnvironmentQuota(frames: bareFrames, capabilities: 0)
    var made = 0
    do throws(ExocallError) {
      while made < 10 {
        _ = try Environment.create(nothing)
        made += 1
      }
    } catch {
      if error != .quotaExceeded { problems |= 1 }
    }
    if made != 2 { problems |= 2 }
    var frames: UInt64 = 0
    do throws(ExocallError) {
      while frames < 1000 { frames += try Exocall.frameAllocate(count: 8).count }
    } catch {
      if error != .quotaExceeded { problems |= 4 }
    }
    if frames > 160 || Frames.limit != 160 || Frames.held > 160 { problems |= 8 }
    return problems
  }
  try child.start()
  let end = try child.wait()
  Promises.check(end == .exited(status: 0), "a child got what its quota allows and no more: it \(end)")
}
