import BenchLoops
import BenchWork
import ExoABI
import GuestRuntime
import LibOS

/// Global performance, as Xok's was measured (Kaashoek et al., SOSP 1997, section 8): a fixed list of jobs that compete for two
/// processors, at most eight at a time, each an environment of its own. Linux runs the same list in processes
/// (Benchmarks/Linux/mix.c).
enum Mix {
  enum Figure { case throughput, latency, unfairness }

  /// What a job does; the list has the kinds in turn.
  static let kinds = 4
  static let jobs = 24
  static let concurrency = 8

  /// When a job began and ended, in ticks.
  private static func began(_ job: Int) -> Int { 64 + job * 8 }
  private static func ended(_ job: Int) -> Int { 64 + job * 8 + 1 }

  static func run(_ figure: Figure) -> Timing? {
    Board.with { (board) throws(ExocallError) in
      let begin = exo_ticks()
      guard try compete(board) else { return nil }
      return judge(figure, since: begin)
    }
  }

  /// False if a job failed.
  private static func compete(_ board: Board) throws(ExocallError) -> Bool {
    var running: [(job: Int, processor: UInt64, child: Child)] = []
    defer { for index in running.indices { running[index].child.end() } }
    var next = 0
    while next < jobs || !running.isEmpty {
      while next < jobs, running.count < concurrency {
        // The processor that has fewer.
        let first = running.filter { $0.processor == 0 }.count
        let processor: UInt64 = first * 2 <= running.count ? 0 : 1
        Duo.store(began(next), exo_ticks())
        let child = try Child.make(
          EnvironmentQuota(frames: 512, capabilities: 512, bindings: 32), on: processor,
          argument: UInt64(next),
          work)
        running.append((next, processor, child))
        try board.give(to: child)
        try child.start()
        next += 1
      }
      Events.wait()
      while Events.poll() != nil {}
      var index = 0
      while index < running.count {
        if try running[index].child.environment.inspect().state == .ended {
          let end = try running[index].child.watch.wait()
          guard end == .exited(status: 0) else {
            Refusal.reason = "job \(running[index].job) \(end)"
            return false
          }
          running[index].child.release()
          running.remove(at: index)
        } else {
          index += 1
        }
      }
    }
    return true
  }

  /// A rate is jobs for each tick and shown by the host as a second's; a deviation is in hundredths of a percent.
  private static func judge(_ figure: Figure, since begin: UInt64) -> Timing {
    let times = (0..<jobs).map { Duo.load(ended($0)) &- Duo.load(began($0)) }
    switch figure {
    case .throughput:
      let last = (0..<jobs).map { Duo.load(ended($0)) }.max() ?? begin
      return Timing(last &- begin, UInt64(jobs))
    case .latency: return Timing(times.max() ?? 0, 1)
    case .unfairness:
      var worst: UInt64 = 0
      for kind in 0..<kinds {
        let same = stride(from: kind, to: jobs, by: kinds).map { times[$0] }
        let mean = same.reduce(0, +) / UInt64(same.count)
        for time in same { worst = max(worst, (time > mean ? time - mean : mean - time) * 10_000 / mean) }
      }
      return Timing(worst, 100)
    }
  }

  fileprivate static func finish(_ job: Int) { Duo.store(ended(job), exo_ticks()) }
}

private func work(_ job: UInt64) -> Int32 {
  var isDone = true
  switch Int(job) % Mix.kinds {
  case 0: _ = Products.integers(Command(row: "", count: 20), size: 150)
  case 1: isDone = digest()
  case 2: isDone = AppelLi.two(Command(row: "", count: 2000)) != nil
  default: naps()
  }
  guard isDone else { return 1 }
  Mix.finish(Int(job))
  return 0
}

/// Memory taken from the exokernel, filled, read over and given back.
private func digest() -> Bool {
  let (address, pages): (UInt64, UInt64) = (0x3000_0000_0000, 256)
  do throws(ExocallError) {
    for _ in 0..<8 {
      var owned: [Capability] = []
      var done: UInt64 = 0
      while done < pages {
        let grant = try Exocall.frameAllocate(count: pages - done)
        try grant.owner.map(at: address + done << 12, pages: grant.count, [.read, .write])
        owned.append(grant.owner)
        done += grant.count
      }
      guard
        let words = UnsafeMutablePointer<UInt32>(bitPattern: UInt(address)),
        bench_digest(words, Int32(pages) * 1024) != 0
      else { return false }
      try Exocall.unmap(address, pages: pages)
      for capability in owned { try capability.drop() }
    }
    return true
  } catch { return false }
}

/// Little work at set times, as of a program that answers somebody.
private func naps() {
  var due = Clock.now
  for _ in 0..<10 {
    due += 2_000_000
    while Clock.now < due {
      Events.setTimer(at: due)
      Events.wait()
      while Events.poll() != nil {}
    }
    bench_use(UInt64(bench_ponder(20_000)))
  }
}
