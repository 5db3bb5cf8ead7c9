import CKVM
import ExoABI
import Synchronization

/// One processor of the machine: a host thread that runs the vCPUs of the environments assigned to it, in turn.
///
/// It sleeps when none can run. A slice is only timed while another environment waits for the processor.
final class Processor: Sendable {
  /// The host processor it is pinned to, if the host has one to spare for it.
  let hostProcessor: Int?
  let number: Int
  private let queue = Mutex(Queue())
  private let parker = Parker()
  private let thread = Mutex<HostThread?>(nil)

  /// How long an environment runs while others wait.
  static let slice: UInt64 = 10_000_000

  private struct Queue {
    var runnable: [Environment] = []
    var isStopping = false
  }

  init(number: Int, hostProcessor: Int?) {
    self.number = number
    self.hostProcessor = hostProcessor
  }

  /// Starts the thread. The machine must stay alive until `stop` has returned.
  func start(_ hardware: Hardware) throws(HostError) {
    let started = try HostThread(name: "exo-cpu-\(number)") { [self] in
      if let hostProcessor { _ = ckvm_pin_thread(CInt(hostProcessor)) }
      let loop = ProcessorLoop(processor: self, hardware: hardware)
      loop.run()
    }
    thread.withLock { $0 = started }
  }

  /// Ends the thread once it has finished its environments, which must all have been asked to end.
  func stop() {
    queue.withLock { $0.isStopping = true }
    parker.notify()
    thread.withLock { $0 }?.join()
  }

  // --- the run queue

  func enqueue(_ environment: Environment) {
    queue.withLock { $0.runnable.append(environment) }
    parker.notify()
  }

  /// The next environment to run; nil to sleep, or, when stopping, to end.
  fileprivate func next() -> Environment? {
    queue.withLock { $0.runnable.isEmpty ? nil : $0.runnable.removeFirst() }
  }
  fileprivate var hasOthers: Bool { queue.withLock { !$0.runnable.isEmpty } }
  fileprivate var isStopping: Bool { queue.withLock { $0.isStopping } }
  fileprivate var ticket: UInt32 { parker.ticket }
  fileprivate func sleep(_ ticket: UInt32) { parker.wait(ticket) }

  // --- sleeping environments

  /// Called by whoever posted a completion.
  func completionPosted(_ environment: Environment) {
    if environment.isWaiting.load(ordering: .sequentiallyConsistent) { wake(environment) }
  }

  /// Makes an environment runnable if it sleeps and has a reason to wake.
  func wake(_ environment: Environment) {
    let wakes = environment.scheduling.withLock {
      // One that never started, or is stopped, has no vCPU to end it on: its processor takes it to finish it.
      let ends = environment.endRequested.load(ordering: .sequentiallyConsistent)
      if ends, $0.state == .created || $0.state == .stopped {
        $0.state = .runnable
        return true
      }
      guard $0.state == .waiting,
        environment.isPosted($0.awaited) || ends
      else { return false }
      $0.state = .runnable
      environment.isWaiting.store(false, ordering: .sequentiallyConsistent)
      return true
    }
    if wakes { enqueue(environment) }
  }

  /// Starts an environment that was created or stopped. False if it is neither.
  func begin(_ environment: Environment, at entryPoint: EntryPoint?) -> Bool {
    let begins = environment.scheduling.withLock {
      if let entryPoint {
        guard $0.state == .created else { return false }
        $0.entryPoint = entryPoint
      } else {
        // A stop that has not been heeded yet is taken back.
        if $0.stopRequested {
          $0.stopRequested = false
          return $0.state == .runnable || $0.state == .waiting
        }
        guard $0.state == .stopped else { return false }
      }
      $0.state = .runnable
      return true
    }
    if begins { enqueue(environment) }
    return begins
  }

  /// Has the environment out of guest mode until `begin`. False if it does not run.
  func halt(_ environment: Environment) -> Bool {
    let halts = environment.scheduling.withLock {
      guard $0.state == .runnable || $0.state == .waiting else { return false }
      $0.stopRequested = true
      return true
    }
    if halts { environment.latch.evict() }
    return halts
  }

  /// Whether a stop was asked for: the environment is then stopped.
  fileprivate func letsGo(of environment: Environment) -> Bool {
    environment.scheduling.withLock {
      guard $0.stopRequested else { return false }
      $0.stopRequested = false
      $0.state = .stopped
      return true
    }
  }

  /// Puts an environment to sleep until the completion is posted. False if it has been, so that it may go on.
  fileprivate func putToSleep(_ environment: Environment, until completion: UInt32) -> Bool {
    environment.scheduling.withLock {
      environment.sleepNumber.add(1, ordering: .releasing)
      environment.isWaiting.store(true, ordering: .sequentiallyConsistent)
      if environment.isPosted(completion) || environment.endRequested.load(ordering: .sequentiallyConsistent)
      {
        environment.isWaiting.store(false, ordering: .sequentiallyConsistent)
        return false
      }
      $0.state = .waiting
      $0.awaited = completion
      return true
    }
  }
}

/// What the processor's thread alone touches.
private final class ProcessorLoop {
  private let processor: Processor
  private let hardware: Hardware
  /// The vCPUs in use, by environment, and those free for the next.
  private var active: [EnvironmentID: VCPUBox] = [:]
  private var pool: [VCPUBox] = []
  private let timer: CInt

  private final class VCPUBox {
    let vcpu: VCPU
    /// Whether an environment has run on it.
    var isUsed = false
    init(_ vcpu: consuming VCPU) { self.vcpu = vcpu }
  }
  private enum Step { case again, asleep, ended }

  init(processor: Processor, hardware: Hardware) {
    self.processor = processor
    self.hardware = hardware
    timer = ckvm_timer_create()
  }
  deinit { if timer >= 0 { _ = ckvm_timer_delete(timer) } }

  func run() {
    // Made while the first environment is being built.
    if let vcpu = try? hardware.newVCPU() {
      vcpu.alignClock()
      pool.append(VCPUBox(vcpu))
    }
    while true {
      let ticket = processor.ticket
      if let environment = processor.next() {
        run(environment)
      } else if processor.isStopping {
        return
      } else {
        processor.sleep(ticket)
      }
    }
  }

  /// Runs an environment until it sleeps, ends, or its slice is over while others wait.
  private func run(_ environment: Environment) {
    do throws(HostError) {
      if environment.endRequested.load(ordering: .sequentiallyConsistent) {
        finish(environment)
        return
      }
      let box = try vcpu(for: environment)
      environment.machine.service.refresh(environment)
      var timed = false
      defer { if timed { _ = ckvm_timer_set(timer, 0) } }
      while true {
        if environment.endRequested.load(ordering: .sequentiallyConsistent) {
          finish(environment)
          return
        }
        if processor.letsGo(of: environment) { return }
        if !timed, processor.hasOthers {
          timed = true
          _ = ckvm_timer_set(timer, Processor.slice)
        }
        let before = ckvm_monotonic()
        environment.latch.enter()
        let exit: VCPUExit
        do throws(HostError) { exit = try box.vcpu.enter() } catch {
          environment.latch.leave()
          throw error
        }
        environment.latch.leave()
        let spent = ckvm_monotonic() &- before
        environment.statistics.update {
          $0.guestNanoseconds += spent
          $0.exits += 1
        }
        switch handle(exit, of: environment, box.vcpu) {
        case .asleep: return
        case .ended: continue  // the end is requested: the check above finishes it
        case .again: break
        }
        if exit == .interrupted, timed, processor.hasOthers {
          processor.enqueue(environment)
          return
        }
      }
    } catch {
      environment.requestEnd(.hostFailure(error))
      finish(environment)
    }
  }

  private func handle(_ exit: VCPUExit, of environment: Environment, _ vcpu: borrowing VCPU) -> Step {
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
        return .again
      case EXO_DOORBELL_WAIT:
        let slept = processor.putToSleep(environment, until: UInt32(truncatingIfNeeded: value))
        return slept ? .asleep : .again
      default: break
      }
      environment.requestEnd(.misused(.deviceAccess(address: address, length: 4, isWrite: true)))
    case .mmio(let address, _, let length, let isWrite):
      environment.requestEnd(
        .misused(.deviceAccess(address: address, length: length, isWrite: isWrite)))
    case .io(port: UInt16(EXO_NUCLEUS_PORT)):
      switch NucleusText.report(instructionPointer: vcpu.registers.rip) {
      case .exception(let vector): environment.requestEnd(.faulted(report(vector, of: environment, vcpu)))
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

  // --- vCPUs

  /// The environment's vCPU, set up at its entry when it runs for the first time.
  private func vcpu(for environment: Environment) throws(HostError) -> VCPUBox {
    if let box = active[environment.id] { return box }
    let began = ckvm_monotonic()
    let box: VCPUBox
    if let pooled = pool.popLast() {
      box = pooled
      if box.isUsed { try box.vcpu.clearState() }
    } else {
      box = VCPUBox(try hardware.newVCPU())
      box.vcpu.alignClock()
    }
    try hardware.prepare(box.vcpu, root: environment.root)
    try box.vcpu.setModelRegisters(xcr0: hardware.control.xcr0)
    box.vcpu.reset(
      root: environment.root, at: environment.scheduling.withLock { $0.entryPoint } ?? .nowhere,
      control: hardware.control)
    box.isUsed = true
    active[environment.id] = box
    environment.latch.setKicker(box.vcpu.kicker)
    let spent = ckvm_monotonic() &- began
    environment.statistics.update { $0.startup.append(("vcpu", spent)) }
    return box
  }

  /// Breaks the environment's bindings; its vCPU, which has left guest mode for good, is free for another.
  private func finish(_ environment: Environment) {
    environment.latch.setKicker(nil)
    if let box = active.removeValue(forKey: environment.id) { pool.append(box) }
    environment.machine.retire(environment)
    environment.finish()
  }
}
