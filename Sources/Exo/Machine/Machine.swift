import CKVM
import ExoABI
import Glibc
import Logging
import Synchronization

/// One virtual machine, its memory and its processors, shared out among environments.
///
///     let machine = try Machine()
///     let image = try GuestImage(name: "hello", bytes: bytes)
///     let environment = try machine.launch(image, arguments: ["hello"], console: .standard)
///     print(await environment.outcome())
///
/// Its threads hold it alive; `stop` ends them.
public final class Machine: Sendable {
  public struct Configuration: Sendable {
    /// Bytes of memory, a whole number of 4 KiB pages.
    public var memory: UInt64 = 64 << 20
    /// Processors to run environments on; at most what the host lets this process use.
    public var processors = 1
    public var device = "/dev/kvm"
    public var logger = Logger(label: "exo")
    /// Whether it answers `exorun ps`, `top`, `trace` and `kill`: not if nil.
    public var control: ControlOptions?
    /// The kind of machine to use the mechanisms of, for tests; as measured if nil. A machine that runs ring 0 natively
    /// can be used like one that does not, not the other way.
    public var substrate: Substrate.Kind?
    public init() {}
  }

  let memory: PhysicalMemory
  let hardware: Hardware
  let service: ServiceThread
  let processors: [Processor]
  let trace: Trace
  let network: Network
  /// Monotonic nanoseconds at which it was made.
  let birth: UInt64
  let control = Mutex<ControlServer?>(nil)
  let device = Mutex<NetworkDevice?>(nil)
  private let kernel: Mutex<Kernel>
  private let lifecycle = Mutex(Lifecycle())
  public let configuration: Configuration
  private let startup: [(step: String, nanoseconds: UInt64)]

  private struct Lifecycle {
    var environments: [EnvironmentID: Environment] = [:]
    var isStopped = false
    var launches = 0
  }

  /// Most bytes a machine may have: half of what frame numbers and the smallest physical address width allow.
  static let memoryLimit: UInt64 = 16 << 30

  /// Makes the machine and starts its threads.
  public init(_ configuration: Configuration = Configuration()) throws(MachineError) {
    birth = ckvm_monotonic()
    var clock = StepClock()
    let kvm = try KVMDevice.open(configuration.device)
    try KVMDevice.requireCapabilities(of: kvm)
    clock.mark("device")
    guard configuration.memory >= 1 << 20, configuration.memory & 0xfff == 0,
      configuration.memory <= Self.memoryLimit, configuration.memory <= hostMemory()
    else {
      throw .badMemorySize(bytes: configuration.memory, limit: min(Self.memoryLimit, hostMemory()))
    }
    do {
      let vm = Descriptor(try check("KVM_CREATE_VM", ckvm_create_vm(kvm.number)))
      clock.mark("vm")
      try check("sigaction", ckvm_install_kick())
      let hosts = Self.hostProcessors()
      let count = max(1, min(configuration.processors, hosts.count))
      hardware = try Hardware(kvm: kvm, vm: vm, substrate: configuration.substrate)
      // Their threads make their first vCPUs while the rest is being made.
      let processors = (0..<count).map {
        Processor(number: $0, hostProcessor: hosts[$0], mayWaitAwake: hosts.count > 1)
      }
      self.processors = processors
      trace = Trace(processors: count)
      var isComplete = false
      defer { if !isComplete { for processor in processors { processor.stop() } } }
      for processor in processors { try processor.start(hardware) }
      clock.mark("processors")
      let memory = try PhysicalMemory(size: configuration.memory)
      try memory.bindSlot(of: hardware.vm)
      clock.mark("memory")
      // Polling needs a processor that no environment runs on.
      let service = try ServiceThread(polls: count < hosts.count)
      var kernel: Kernel
      do { kernel = try Kernel(memory: memory, hardware: hardware, trace: trace) } catch { throw error }
      kernel.sliceOwners = Array(
        repeating: Array(repeating: nil, count: SliceVector.count), count: count)
      kernel.publishMachine(clock: ClockBase(frequency: try Self.tscFrequency(hardware)))
      self.memory = memory
      network = kernel.network
      self.service = service
      self.configuration = configuration
      self.kernel = Mutex(kernel)
      clock.mark("kernel")
      try service.start(hardware, hostProcessor: hosts.count > count ? hosts[count] : nil)
      clock.mark("service")
      startup = clock.steps
      isComplete = true
    } catch let error as HostError {
      throw .host(error)
    } catch let error as MachineError {
      throw error
    } catch {
      throw .missingCapability("\(error)")
    }
    if let options = configuration.control {
      service.schedule(at: birth &+ options.delay.nanoseconds) { [weak self] in self?.openControl(options) }
    }
  }

  /// The host processors this process may use.
  private static func hostProcessors() -> [Int] {
    var numbers = [CInt](repeating: 0, count: 1024)
    let count = unsafe ckvm_allowed_processors(&numbers, 1024)
    return count > 0 ? numbers.prefix(Int(count)).map(Int.init) : [0]
  }

  // --- environments

  /// Makes an environment from an image and starts it.
  ///
  /// - Parameters:
  ///   - image: the program.
  ///   - arguments: the first is by custom the guest's name.
  ///   - variables: `NAME=value` each.
  ///   - limit: most bytes of frames it may hold; all of the machine's if nil.
  ///   - provisions: bytes that it finds in frames of its own; the variable is set to `HANDLE:PAGES`.
  ///   - console: where its output goes and its input comes from.
  ///   - timeLimit: counted from now.
  ///   - isOnNetwork: whether it is let onto the machine's network (`admit`).
  public func launch(
    _ image: GuestImage, arguments: [String], variables: [String] = [], memory limit: UInt64? = nil,
    provisions: [(variable: String, bytes: [UInt8])] = [], console: Console = Console(),
    timeLimit: Duration? = nil, isOnNetwork: Bool = false
  ) throws(LaunchError) -> Environment {
    guard let processor = nextProcessor() else { throw .machineStopped }
    processor.expect()
    defer { processor.expectNoMore() }
    let environment = try prepare(
      image, name: arguments.first ?? image.name, quota: quota(memory: limit), console: console,
      timeLimit: timeLimit, on: processor)
    do throws(LaunchError) {
      let admission = isOnNetwork ? try? admit(environment) : nil
      // It has just been made, and its quota is the machine's, so this does not fail.
      guard !isOnNetwork || admission != nil else { throw .notStartable }
      var variables = variables + (admission.map { [$0.variable] } ?? [])
      for (variable, bytes) in provisions {
        let (handle, pages) = try provide(bytes, to: environment)
        variables.append("\(variable)=\(handle):\(pages)")
      }
      try environment.start(arguments: arguments, variables: variables)
    } catch {
      environment.kill()
      throw error
    }
    return environment
  }

  /// Makes an environment from an image without starting it, so that it can be given more first (`share`).
  ///
  /// - Parameters:
  ///   - image: the program.
  ///   - name: what it is called.
  ///   - quota: what it and the environments it creates may consume together.
  ///   - console: where its output goes and its input comes from.
  ///   - timeLimit: counted from its start.
  public func prepare(
    _ image: GuestImage, name: String, quota: Quota, console: Console = Console(),
    timeLimit: Duration? = nil
  ) throws(LaunchError) -> Environment {
    guard let processor = nextProcessor() else { throw .machineStopped }
    return try prepare(
      image, name: name, quota: quota, console: console, timeLimit: timeLimit, on: processor)
  }

  private func prepare(
    _ image: GuestImage, name: String, quota: Quota, console: Console, timeLimit: Duration?,
    on processor: Processor
  ) throws(LaunchError) -> Environment {
    var clock = StepClock()
    let latch = ExecutionLatch(shared: processor.latch)
    let features = hardware.features
    let (id, shell) = try withKernel { (kernel) throws(LaunchError) in
      let id = kernel.newEnvironmentID()
      try kernel.createDomain(
        DomainRequest(
          id: id, image: image, quota: quota, features: features, latch: latch, processor: processor.number))
      guard let domain = kernel.domains[id] else { throw .machineStopped }
      return (id, domain.shell)
    }
    let environment = Environment(
      id: id, name: name, image: image, machine: self, processor: processor, shell: shell, latch: latch,
      console: console, timeLimit: timeLimit)
    lifecycle.withLock { $0.environments[id] = environment }
    clock.mark("environment")
    let steps = (id == EnvironmentID(1) ? startup : []) + clock.steps
    environment.statistics.update { $0.startup = steps }
    return environment
  }

  /// What an environment may consume if nobody says otherwise.
  ///
  /// - Parameters:
  ///   - memory: most bytes of frames; all of the machine's if nil.
  ///   - capabilities: how many entries its table may have.
  ///   - bindings: how many it may hold.
  ///   - environments: how many it may create.
  public func quota(
    memory: UInt64? = nil, capabilities: UInt64 = 65_536, bindings: UInt64 = 256,
    environments: UInt64 = 1024
  ) -> Quota {
    Quota(
      frames: min(UInt64(self.memory.frameCount), (memory ?? .max) >> 12), capabilities: capabilities,
      bindings: bindings, withRingsFor: environments)
  }

  /// The processor of the next environment, each in turn; nil once the machine has been stopped.
  private func nextProcessor() -> Processor? {
    lifecycle.withLock { state in
      guard !state.isStopped else { return nil }
      state.launches += 1
      return processors[(state.launches - 1) % processors.count]
    }
  }

  private let hasAdoptedSubstrate = Atomic<Bool>(false)

  /// Readies what was made before the substrate was known, once: no environment has run yet. Called by the processors'
  /// threads before any does.
  func adoptSubstrate() {
    guard !hasAdoptedSubstrate.load(ordering: .sequentiallyConsistent) else { return }
    withKernel { $0.adopt(hardware.mechanisms) }
    hasAdoptedSubstrate.store(true, ordering: .sequentiallyConsistent)
  }

  /// Called by the processor's thread when an environment's vCPU has left guest mode for good.
  func retire(_ environment: Environment) {
    service.remove(environment)
    // Whoever serves its ring at this moment finishes first.
    environment.ring.withLock { _ in }
    environment.events.withLock { $0.close() }
    let (peak, hasOwner) = withKernel { kernel in
      let peak = kernel.domains[environment.id]?.framesPeak ?? 0
      kernel.destroyDomain(environment.id)
      return (peak, kernel.capabilities.owner(of: .environment(environment.id)) != nil)
    }
    environment.statistics.update { $0.framesPeak = peak }
    // Whoever owns it may ask how it ended, for as long as the capability is kept.
    if !hasOwner { lifecycle.withLock { $0.environments[environment.id] = nil } }
    configuration.logger.debug("\(environment.id) has ended")
  }

  /// An environment with nothing in it, made by another and out of its quota. The creator owns it: it ends when the
  /// creator's first capability to it goes.
  func create(
    by creator: Environment, _ quota: Quota, on placement: Exocall.Placement = .any
  ) throws(Refusal) -> (CapabilityHandle, Environment) {
    let number = lifecycle.withLock { state -> Int in
      state.launches += 1
      return state.launches
    }
    let processor: Processor
    switch placement {
    case .any: processor = processors[number % processors.count]
    case .own: processor = creator.processor
    case .number(let wanted):
      guard wanted < processors.count else { throw .invalid }
      processor = processors[wanted]
    }
    let latch = ExecutionLatch(shared: processor.latch)
    let features = hardware.features
    let (id, handle, shell) = try withKernel { (kernel) throws(Refusal) in
      let id = kernel.newEnvironmentID()
      let handle = try kernel.createChild(
        DomainRequest(
          id: id, image: nil, quota: quota, features: features, latch: latch, processor: processor.number),
        of: creator.id)
      guard let domain = kernel.domains[id] else { throw .absent }
      return (id, handle, domain.shell)
    }
    let environment = Environment(
      id: id, name: "\(creator.name)/\(id.number)", image: creator.image, machine: self,
      processor: processor, shell: shell, latch: latch,
      console: Console(output: creator.consoleOutput), timeLimit: creator.remainingTime,
      creator: creator)
    lifecycle.withLock { $0.environments[id] = environment }
    environment.beginTimeLimit()
    service.add(environment)
    service.notify()
    return (handle, environment)
  }

  /// The environments there are, by number, and how many were made.
  var living: (environments: [Environment], made: Int) {
    lifecycle.withLock { ($0.environments.values.sorted { $0.id < $1.id }, $0.launches) }
  }
  var isStopped: Bool { lifecycle.withLock { $0.isStopped } }

  func environment(_ id: EnvironmentID) -> Environment? { lifecycle.withLock { $0.environments[id] } }

  /// Ends every environment and the machine's threads. Returns when all have ended.
  public func stop() {
    let environments = lifecycle.withLock { state in
      state.isStopped = true
      return Array(state.environments.values)
    }
    for environment in environments { environment.kill() }
    for processor in processors { processor.stop() }
    closeControl()
    detach()
    service.stop()
  }

  /// What this KVM is, once the first environment has run.
  public var substrate: Substrate? { hardware.substrate }

  /// Frames that nobody owns and that may be allocated now.
  public var freeFrames: Int { withKernel { $0.frames.freeCount } }

  /// The lock on authority and memory. Environments that lost their owner within it are ended after it.
  func withKernel<R, E: Error>(_ body: (inout Kernel) throws(E) -> R) throws(E) -> R {
    let (result, aftermath) = kernel.withLock { kernel in
      let result: Result<R, E>
      do throws(E) { result = .success(try body(&kernel)) } catch { result = .failure(error) }
      return (result, kernel.takeAftermath())
    }
    if let aftermath { settle(aftermath) }
    return try result.get()
  }

  private func settle(_ aftermath: Kernel.Aftermath) {
    for id in aftermath.newlyConnected {
      // It may run untimed, alone as it is, and from here on hand its time over without having left guest mode.
      if let environment = environment(id),
        !environment.hasPeers.exchange(true, ordering: .sequentiallyConsistent)
      {
        // It may be about to enter, and have looked before: the kick waits for it there.
        environment.latch.kick()
        environment.latch.evict()
      }
    }
    for (asker, given, taken) in aftermath.answers {
      switch asker {
      case .host(let body): body(given, taken)
      case .environment(let id, let tag):
        guard let environment = environment(id) else { continue }
        service.answerLater(
          environment, Completion(tag: tag, result: Int64(given + taken), values: (given, taken)))
      }
    }
    for (id, event) in aftermath.signals { environment(id)?.post(event) }
    for (processor, slots) in aftermath.freedSlices { processors[processor].bindSlices(slots, to: nil) }
    for (id, lives) in aftermath.orphans {
      if lives {
        environment(id)?.kill()
      } else {
        // It ended before, and nobody can ask about it any more.
        lifecycle.withLock { $0.environments[id] = nil }
      }
    }
  }
}

/// Names and times the steps of something that happens once.
struct StepClock {
  private(set) var steps: [(step: String, nanoseconds: UInt64)] = []
  private var last = ckvm_monotonic()
  mutating func mark(_ step: String) {
    let now = ckvm_monotonic()
    steps.append((step, now &- last))
    last = now
  }
}
