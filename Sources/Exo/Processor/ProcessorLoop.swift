import CKVM
import ExoABI

/// What the processor's thread alone touches.
final class ProcessorLoop {
  let processor: Processor
  let hardware: Hardware
  /// The vCPUs in use, by environment, and those free for the next: nothing is left in them of an environment.
  var active: [EnvironmentID: VCPUBox] = [:]
  var pool: [VCPUBox] = []
  var used: [VCPUBox] = []
  private var timer: CInt
  /// See `ProcessorLoop+Visits`.
  var adopted: [EnvironmentID: [VCPUBox]] = [:]
  var residents: [UInt64: Environment] = [:]
  /// What RSP says to those whose call was given up and who have not heard it yet.
  var told: [EnvironmentID: UInt64] = [:]
  /// Those without a vCPU that have run before (`ProcessorLoop+Parking`).
  var parked: [EnvironmentID: ParkedContext] = [:]
  /// Environments that ran on an adopted vCPU last, and are to run on their own next.
  var ranAdopted: Set<EnvironmentID> = []

  final class VCPUBox {
    let vcpu: VCPU
    /// The kind of machine that its model-specific registers are set for.
    var kind: Substrate.Kind?
    /// When it ran last, in nanoseconds.
    var ran: UInt64 = 0
    /// In whose address space a trace said last that it was; nil for its own environment's.
    var tracedHost: EnvironmentID?
    init(_ vcpu: consuming VCPU) { self.vcpu = vcpu }
    /// Root of the address space it was in when it last left guest mode.
    var root: UInt64 { vcpu.systemRegisters.cr3 & PageTableEntry.addressMask }
  }
  enum Step {
    case again, asleep, ended
    /// The rest of the slice is given up, perhaps to somebody.
    case yielded(to: EnvironmentID?)
    /// The vCPU came by a transfer that nobody wants.
    case declined
  }

  /// One environment's time on the processor.
  private struct Slice {
    var ends: UInt64
    /// When the grace ends that it was given to put things in order, once it has been told.
    var graceEnds: UInt64?
    var isTimed = false
    /// When one that is alone and over is looked at again: until then it has another slice.
    var looksAgain: UInt64 = 0
    func left(at now: UInt64) -> UInt64 { ends > now ? ends - now : 0 }
    func overrun(at now: UInt64) -> UInt64 { now > ends ? now - ends : 0 }
  }
  /// How soon to look again at a vCPU that could not be interrupted.
  private static let retry: UInt64 = 50_000
  /// How long to look out for an environment that was announced before sleeping: about what building one takes.
  private static let patience: UInt64 = 300_000

  init(processor: Processor, hardware: Hardware) {
    self.processor = processor
    self.hardware = hardware
    timer = ckvm_timer_create()
    processor.timer.store(timer, ordering: .relaxed)
  }
  deinit { if timer >= 0 { _ = ckvm_timer_delete(timer) } }

  func run() {
    // Made while the first environment is being built.
    if let box = try? newVCPU() { pool.append(box) }
    while true {
      let ticket = processor.ticket
      if let (environment, length) = processor.next() {
        run(environment, for: length)
      } else if processor.isStopping {
        return
      } else {
        if processor.isExpecting { getReady(ticket) }
        processor.sleep(ticket)
      }
    }
  }

  /// An environment is being built for this processor: its vCPU is made, and this thread awake, when it comes.
  private func getReady(_ ticket: UInt32) {
    if pool.isEmpty, let box = try? newVCPU() { pool.append(box) }
    guard processor.mayWaitAwake else { return }
    // What runs between here and the guest has not run for some time: once through it while there is nothing else to do.
    if processor.ticket == ticket { pool.last?.vcpu.warm() }
    let end = ckvm_monotonic() &+ Self.patience
    while processor.ticket == ticket, ckvm_monotonic() < end { ckvm_pause() }
  }

  /// Runs an environment until it sleeps, ends, yields, or its slice is over while others wait.
  private func run(_ environment: Environment, for length: UInt64) {
    environment.beginTurn(for: length)
    var staysRunnable = false
    var arrival = Processor.Arrival.goesOn
    var turnEnd = TraceEvent.SliceEnd.ends
    var excess: UInt64 = 0
    defer {
      processor.end(at: ckvm_monotonic())
      environment.endTurn(turnEnd, excess: excess)
      if staysRunnable { processor.enqueue(environment, arrival) }
    }
    do throws(HostError) {
      if environment.endRequested.load(ordering: .sequentiallyConsistent) {
        finish(environment)
        return
      }
      let (box, isAdopted) = try nextBox(of: environment)
      environment.latch.setKicker(box.vcpu.kicker)
      announceAwake(environment)
      box.ran = ckvm_monotonic()
      var slice = Slice(ends: box.ran &+ length)
      defer { if slice.isTimed { setTimer(0) } }
      // For one that woke when there was nothing to kick yet.
      cutShort(&slice)
      while true {
        if environment.endRequested.load(ordering: .sequentiallyConsistent) {
          finish(environment)
          return
        }
        let place = try place(of: box, of: environment, isAdopted: isAdopted)
        if case .left = place {
          staysRunnable = true
          return
        }
        if processor.letsGo(of: environment) {
          if case .visiting(let host) = place, !isAdopted {
            try abandon(box, of: environment, in: host, .stopped)
          }
          turnEnd = .stops
          return
        }
        // One that is alone may hand its time over to one that it calls.
        if !slice.isTimed, processor.hasOthers || environment.hasPeers.load(ordering: .relaxed) {
          slice.isTimed = true
          setTimer(max(slice.left(at: ckvm_monotonic()), Self.retry))
        }
        var present = environment
        if case .visiting(let host) = place {
          present = host
          // Its own events wait until it is back.
          if environment.deliveryDue.load(ordering: .relaxed), !slice.isTimed {
            slice.isTimed = true
            setTimer(Processor.grace)
          }
        } else if !isAdopted, environment.deliverEvents(box.vcpu) {
          slice.isTimed = true
          setTimer(Self.retry)
        }
        let exit = try enter(environment, box.vcpu)
        if !isAdopted {
          noteTold(environment, by: box.vcpu)
          if environment.trace.wants(.gate) { traceVisit(of: environment, box) }
        }
        if processor.takeDelayedKick() {
          // The timer was taken for it: it is set anew if there is reason to.
          setTimer(0)
          slice.isTimed = false
        }
        // It may have gone elsewhere.
        if box.root != present.root.value { present = resident(at: box.root) ?? environment }
        switch handle(exit, of: present, box.vcpu, isHome: !isAdopted && present === environment) {
        case .asleep:
          turnEnd = .sleeps
          return
        case .declined:
          if try sendHome(box, of: environment, isAdopted: isAdopted, .declined) { break }
          staysRunnable = true
          return
        case .ended: continue  // the end is requested: the check above finishes it
        case .again: break
        case .yielded(let target):
          let now = ckvm_monotonic()
          excess = slice.overrun(at: now)
          turnEnd = .yields
          processor.charge(excess, to: environment.id)
          // Of nothing there is no rest: two that yield to each other come to an end of it.
          let left = slice.left(at: now)
          if let target, target != environment.id, left > 0 { processor.donate(left, to: target) }
          (staysRunnable, arrival) = (true, .yields)
          try handOver(box, of: environment, isAdopted: isAdopted)
          return
        }
        cutShort(&slice)
        if slice.isTimed, let overrun = overrun(&slice, of: environment, length, in: present) {
          (turnEnd, excess) = (.over, overrun)
          staysRunnable = true
          try handOver(box, of: environment, isAdopted: isAdopted)
          return
        }
      }
    } catch {
      environment.requestEnd(.hostFailure(error))
      finish(environment)
    }
  }

  /// Whoever serves rings passes over those that sleep.
  private func announceAwake(_ environment: Environment) {
    environment.machine.service.refresh(environment)
    environment.machine.service.poll(environment)
  }

  private func setTimer(_ nanoseconds: UInt64) {
    // The host may have been out of timers for a moment.
    if timer < 0 {
      timer = ckvm_timer_create()
      processor.timer.store(timer, ordering: .relaxed)
    }
    _ = ckvm_timer_set(timer, nanoseconds)
  }

  /// One stay in guest mode.
  private func enter(_ environment: Environment, _ vcpu: borrowing VCPU) throws(HostError) -> VCPUExit {
    let before = ckvm_monotonic()
    environment.latch.enter()
    defer { environment.latch.leave() }
    // After the latch: whoever asks for these has the vCPU leave guest mode once, and knows then that it was heeded.
    if environment.systemCallDue.load(ordering: .sequentiallyConsistent) {
      environment.systemCallDue.store(false, ordering: .sequentiallyConsistent)
      try vcpu.setSystemCall(
        hardware.mechanisms.systemCallRegisters(handler: environment.systemCallHandler))
    }
    if hardware.keysAreOn, !vcpu.hasKeys { vcpu.switchKeysOn() }
    let exit = try vcpu.enter()
    try completeTransfer(vcpu)
    let spent = ckvm_monotonic() &- before
    if environment.trace.wants(.guest) { environment.traceStay(exit, since: before) }
    environment.statistics.update {
      $0.guestNanoseconds += spent
      $0.exits += 1
    }
    return exit
  }

  /// Has the slice end when one that has woken is to have its turn. What it has had until now was its due all the same.
  private func cutShort(_ slice: inout Slice) {
    guard let end = processor.turnEnd, end < slice.ends else { return }
    let now = ckvm_monotonic()
    guard slice.left(at: now) > 0 else { return }
    slice.ends = max(end, now)
    slice.isTimed = true
    setTimer(max(slice.left(at: now), Self.retry))
  }

  /// How far the slice is over, if it is and somebody waits. An environment that asked for it is told first, and has its grace;
  /// what it runs beyond the slice is taken off its next ones.
  private func overrun(
    _ slice: inout Slice, of environment: Environment, _ length: UInt64, in present: Environment
  ) -> UInt64? {
    let now = ckvm_monotonic()
    guard slice.left(at: now) == 0 else { return nil }
    let isHandedOver = present !== environment && environment.handsOver && now >= slice.looksAgain
    guard processor.hasOthers || isHandedOver else {
      slice.graceEnds = nil
      if !environment.hasPeers.load(ordering: .relaxed) {
        // Nobody to make room for: timed again when somebody comes.
        slice.isTimed = false
        setTimer(0)
      } else if now >= slice.looksAgain {
        // It may have handed its time over by then.
        slice.looksAgain = now &+ length
        setTimer(length)
      }
      return nil
    }
    if isHandedOver {
      // It is not there to be told.
    } else if let graceEnds = slice.graceEnds {
      guard now >= graceEnds else { return nil }
    } else if environment.isTold(of: .sliceEnd) {
      slice.graceEnds = now &+ Processor.grace
      environment.post(Event(kind: .sliceEnd, value: Processor.grace))
      setTimer(Processor.grace)
      return nil
    }
    let overrun = slice.overrun(at: now)
    processor.charge(overrun, to: environment.id)
    return overrun
  }

  /// - Parameter isHome: whether the environment is on its own vCPU, where alone it can sleep.
  private func handle(
    _ exit: VCPUExit, of environment: Environment, _ vcpu: borrowing VCPU, isHome: Bool
  ) -> Step {
    switch exit {
    case .interrupted: return .again
    case .mmio(let address, let value, 4, true) where address & ~0xfff == Kernel.doorbell.value:
      switch Int32(address & 0xfff) {
      case EXO_DOORBELL_WAKE:
        // Before the service has bound it.
        environment.machine.service.notify()
        return .again
      case EXO_DOORBELL_SERVE:
        environment.serveRing()
        environment.advanceConsole()
        if environment.consolePending.load(ordering: .relaxed) { environment.machine.service.notify() }
        environment.lookForEvents()
        return .again
      case EXO_DOORBELL_EXIT:
        // What was submitted before comes before.
        environment.serveRing()
        environment.count(EXO_CALL_exit.rawValue)
        environment.requestEnd(
          .exited(status: UInt8(truncatingIfNeeded: value)), isFinishedNext: isHome)
        return .ended
      case EXO_DOORBELL_DECLINE:
        // At home too: whatever came back was no answer to the call that it was on.
        return isHome && !environment.hasEntry ? .again : .declined
      case EXO_DOORBELL_WAIT:
        // A visitor must not lie down in somebody's bed.
        guard isHome, adopted[environment.id] == nil else {
          // Whoever polls rings passes over those of environments that sleep, as this one does by itself.
          environment.serveRing()
          environment.advanceConsole()
          return .yielded(to: nil)
        }
        guard !processor.putToSleep(environment, until: UInt32(truncatingIfNeeded: value)) else {
          return .asleep
        }
        // For a moment it looked asleep, and may have been passed over.
        announceAwake(environment)
        return .again
      default: break
      }
      environment.requestEnd(.misused(.deviceAccess(address: address, length: 4, isWrite: true)))
    case .mmio(Kernel.doorbell.value + UInt64(EXO_DOORBELL_YIELD), let value, 8, true):
      let handle = CapabilityHandle(rawValue: value)
      guard value != 0 else { return .yielded(to: nil) }
      // A handle that names nobody yields to nobody.
      let target = environment.machine.withKernel { kernel in
        try? kernel.environment(handle, needing: [], in: environment.id)
      }
      return .yielded(to: target)
    case .mmio(let address, _, let length, let isWrite):
      environment.requestEnd(
        .misused(.deviceAccess(address: address, length: length, isWrite: isWrite)))
    case .io(port: UInt16(EXO_NUCLEUS_PORT)):
      switch NucleusText.report(instructionPointer: vcpu.registers.rip) {
      case .exception(let vector):
        let report = report(vector, of: environment, vcpu)
        environment.noteFault(report)
        environment.requestEnd(.faulted(report))
      case .systemCall: environment.requestEnd(.misused(.systemCallInstruction))
      case .probe, nil: environment.requestEnd(.misused(.unexpectedExit(reason: 2)))
      }
    case .io: environment.requestEnd(.misused(.unexpectedExit(reason: 2)))
    case .halt: environment.requestEnd(.misused(.unexpectedExit(reason: 5)))
    case .shutdown: environment.requestEnd(.misused(.shutdown))
    case .internalError(let code): environment.requestEnd(.misused(.emulation(code: code)))
    case .other(let reason): environment.requestEnd(.misused(.unexpectedExit(reason: reason)))
    }
    return .ended
  }

  private func report(
    _ vector: ExceptionVector, of environment: Environment, _ vcpu: borrowing VCPU
  ) -> FaultReport {
    let own = vector.stackSlot == Int(EXO_IST_DOUBLE_FAULT)
    let (general, system) = (vcpu.registers, vcpu.systemRegisters)
    return environment.machine.withKernel { kernel in
      FaultReport(
        vector: vector, general: general, system: system, trap: environment.trap,
        stackTop: Int(own ? EXO_TRAP_DOUBLE_FAULT_TOP : EXO_TRAP_NUCLEUS_TOP),
        space: kernel.domains[environment.id]?.shell.space ?? AddressSpace(root: environment.trap),
        memory: kernel.memory)
    }
  }

  /// Breaks the environment's bindings; its vCPU, which has left guest mode for good, is free for another.
  private func finish(_ environment: Environment) {
    environment.latch.setKicker(nil)
    bringHomeAll(from: environment)
    processor.forget(environment)
    environment.machine.retire(environment)
    environment.finish()
    recycle()
  }
}
