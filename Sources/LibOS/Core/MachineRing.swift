#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// The doorbell page of this environment.
  public struct MachineDoorbell: RingDoorbell {
    var page: UInt64 = 0

    @inline(__always)
    public func wake() { exo_ring_doorbell(page, UInt32(EXO_DOORBELL_WAKE), 1) }
    @inline(__always)
    public func serve() { exo_ring_doorbell(page, UInt32(EXO_DOORBELL_SERVE), 1) }
    @inline(__always)
    public func wait(for completion: UInt32) {
      exo_ring_doorbell(page, UInt32(EXO_DOORBELL_WAIT), completion)
    }
    public func exit(_ status: Int32) {
      exo_ring_doorbell(page, UInt32(EXO_DOORBELL_EXIT), UInt32(bitPattern: status))
    }
    @inline(__always)
    public func pause() { exo_pause() }
    @inline(__always)
    public var ticks: UInt64 { exo_ticks() }
  }

  /// This environment's ring, ready from before `main`.
  nonisolated(unsafe) public var machineRing = RingClient(bell: MachineDoorbell())

  /// Nanoseconds to watch for a completion before going to sleep: about the price of a sleep, its exit and the way back. A
  /// call that has translations flushed takes half of it.
  let ringPatience: UInt64 = 60_000

  func attachRing(_ start: UnsafePointer<exo_start>) {
    let machine = UnsafePointer<exo_machine>(bitPattern: UInt(start.pointee.machine)).unsafelyUnwrapped
    machineRing.bell.page = start.pointee.doorbell
    machineRing.attach(
      submissions: UInt(start.pointee.submission_ring), completions: UInt(start.pointee.completion_ring),
      status: UInt(start.pointee.status), answers: exo_ring_answers(),
      patience: ClockScale(machine.pointee).ticks(in: ringPatience), served: start.pointee.ring_served)
  }
#endif
