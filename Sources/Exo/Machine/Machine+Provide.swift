extension Machine {
  /// Allocates frames, side by side, for an environment that has not been started, and fills them.
  ///
  /// - Returns: the handle of the environment's capability to them, which has every right, and how many they are.
  /// - Throws: `outOfMemory` if the machine has not that many side by side, or the environment may not have them;
  ///   `notStartable` if it has ended.
  func provide(_ bytes: [UInt8], to environment: Environment) throws(LaunchError) -> (
    handle: UInt64, pages: Int
  ) {
    let pages = max((bytes.count + 4095) >> 12, 1)
    return try withKernel { (kernel) throws(LaunchError) in
      do throws(Refusal) {
        let (handle, run) = try kernel.allocateFrames(nil, count: pages, for: environment.id)
        guard run.count == pages else {
          do { try kernel.drop(handle, in: environment.id) } catch {
            kernel.logFault("taking frames back: \(error)")
          }
          throw .noMemory
        }
        kernel.memory.write(bytes[...], at: run.first.address)
        return (handle.rawValue, pages)
      } catch {
        if error == .absent { throw .notStartable }
        throw .outOfMemory(neededFrames: pages, available: kernel.frames.freeCount)
      }
    }
  }
}
