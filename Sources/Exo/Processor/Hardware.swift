import CKVM
import ExoABI
import Synchronization

/// What is common to all vCPUs of a machine: its KVM descriptors, the processor features offered, and the control
/// registers that follow from them.
final class Hardware: Sendable {
  let vm: Descriptor
  private let runSize: Int
  private let cpuid: [kvm_cpuid_entry2]
  private let nextVCPU = Atomic<Int32>(0)
  private let base: ControlState
  /// Where PKRU lies among the registers that KVM saves; nil if the processor has no protection keys.
  private let savedKeys: Int?
  private let keys = Atomic<Bool>(false)
  /// The kind of machine to be content with, whatever was measured.
  private let forced: Substrate.Kind?

  /// Facts of the host's KVM, asked once by each process: the supported features (a slow call, for each of its
  /// instructions is a trap where this host is itself virtual), and what the substrate measured.
  private static let facts = Mutex(Facts())
  private struct Facts {
    var cpuid: [kvm_cpuid_entry2]?
    var substrate: Substrate?
  }

  init(
    kvm: borrowing Descriptor, vm: consuming Descriptor, substrate forced: Substrate.Kind? = nil
  ) throws(HostError) {
    self.forced = forced
    runSize = Int(try check("KVM_GET_VCPU_MMAP_SIZE", ckvm_vcpu_map_size(kvm.number)))
    if let known = Self.facts.withLock({ $0.cpuid }) {
      cpuid = known
    } else {
      var entries = [kvm_cpuid_entry2](repeating: kvm_cpuid_entry2(), count: 256)
      let count = try check(
        "KVM_GET_SUPPORTED_CPUID", unsafe ckvm_supported_cpuid(kvm.number, &entries, 256))
      entries.removeSubrange(Int(count)...)
      cpuid = entries
      Self.facts.withLock { [entries] in $0.cpuid = entries }
    }
    base = Self.control(cpuid)
    savedKeys = Self.savedKeys(cpuid)
    // No environment executes RDMSR or WRMSR; should the nucleus ever be made to, there is nothing to be had. Not every
    // KVM has it.
    _ = ckvm_deny_msrs(vm.number)
    self.vm = vm
  }

  /// Control registers of an environment.
  var control: ControlState {
    var control = base
    control.efer |= mechanisms.extendedFeatures
    if keysAreOn { control.cr4 |= ControlState.keyEnable }
    return control
  }

  /// How this machine is dealt with: as one that interprets ring 0 until it is known better.
  var mechanisms: any SubstrateMechanisms {
    if let forced, substrate != nil { return forced == .native ? NativeRing0() : InterpretedRing0() }
    return substrate?.mechanisms ?? InterpretedRing0()
  }

  /// Protection keys are for where ring 0 runs on the processor: what interprets it knows nothing of them.
  var offersKeys: Bool { savedKeys != nil && mechanisms.kind == .native }
  /// Set for good. Whoever calls it keeps every vCPU out of guest mode; each learns of it as it goes back.
  func switchKeysOn() { keys.store(true, ordering: .sequentiallyConsistent) }
  var keysAreOn: Bool { keys.load(ordering: .sequentiallyConsistent) }

  var keyOffset: Int { savedKeys ?? 0 }

  private static func savedKeys(_ cpuid: [kvm_cpuid_entry2]) -> Int? {
    func leaf(_ function: UInt32, _ index: UInt32) -> kvm_cpuid_entry2? {
      cpuid.first { $0.function == function && $0.index == index }
    }
    guard let seven = leaf(7, 0), seven.ecx & 1 << 3 != 0, let states = leaf(13, 0), states.eax & 1 << 9 != 0,
      let place = leaf(13, 9), place.ebx >= 576, place.ebx < 4096
    else { return nil }
    return Int(place.ebx)
  }

  /// Control registers: long mode with write protection and NX; alignment checks left to RFLAGS.AC; and whatever of
  /// SMEP, UMIP, FSGSBASE and XSAVE is offered. SMAP stays off: a direct gate's frame is pushed on a user page.
  private static func control(_ cpuid: [kvm_cpuid_entry2]) -> ControlState {
    func leaf(_ function: UInt32, _ index: UInt32 = 0) -> kvm_cpuid_entry2? {
      cpuid.first { $0.function == function && $0.index == index }
    }
    var cr4: UInt64 = 1 << 5 | 1 << 9 | 1 << 10  // PAE, OSFXSR, OSXMMEXCPT
    var xcr0: UInt64 = 0
    if let one = leaf(1), one.ecx & 1 << 26 != 0 {
      cr4 |= 1 << 18  // OSXSAVE
      let offered = leaf(13).map { UInt64($0.eax) | UInt64($0.edx) << 32 } ?? 3
      // x87, SSE, AVX and the three AVX-512 components; AVX-512 only whole. Not PKRU: WRPKRU alone changes it, once it may.
      xcr0 = offered & 0b1110_0111
      if xcr0 & 0b1110_0000 != 0b1110_0000 { xcr0 &= 0b111 }
    }
    if let seven = leaf(7) {
      if seven.ebx & 1 << 0 != 0 { cr4 |= 1 << 16 }  // FSGSBASE
      if seven.ebx & 1 << 7 != 0 { cr4 |= 1 << 20 }  // SMEP
      if seven.ecx & 1 << 2 != 0 { cr4 |= 1 << 11 }  // UMIP
    }
    // PG, AM, WP, NE, ET, MP, PE; LMA, LME, NXE.
    return ControlState(cr0: 0x8005_0033, cr4: cr4, efer: 0xd00, xcr0: xcr0)
  }

  func newVCPU() throws(HostError) -> VCPU {
    let id = nextVCPU.add(1, ordering: .relaxed).oldValue
    return try VCPU(vm: vm, id: id, runSize: runSize, cpuid: cpuid)
  }

  /// Measures the substrate on the first vCPU that gets here: the probe stub runs in ring 0 of an address space that
  /// is about to be used.
  func prepare(_ vcpu: borrowing VCPU, root: PhysicalAddress) throws(HostError) {
    let measured: Substrate
    if let substrate {
      measured = substrate
    } else {
      measured = try Substrate.measure(vcpu, root: root, control: base)
      Self.facts.withLock { $0.substrate = measured }
    }
    // SYSCALL would go to ring 3 unchecked, or nowhere.
    if forced == .native, measured.kind != .native {
      throw HostError("treating interpreted ring 0 as native", -EXO_EINVAL)
    }
  }
  var substrate: Substrate? { Self.facts.withLock { $0.substrate } }

  /// The features an environment may use, as `exo_start.features` tells it.
  var features: UInt64 {
    var bits: UInt64 = 0
    // Where ring 3 runs natively under a KVM that hides CPUID bits, the host's own features are there: what counts
    // is what the host's kernel saves and restores.
    let host = ckvm_host_features()
    if host & 1 != 0 { bits |= UInt64(EXO_FEATURE_AVX) }
    if host & 2 != 0 { bits |= UInt64(EXO_FEATURE_AVX2) }
    if host & 4 != 0 { bits |= UInt64(EXO_FEATURE_AVX512) }
    if base.cr4 & 1 << 16 != 0 { bits |= UInt64(EXO_FEATURE_FSGSBASE) }
    if offersKeys { bits |= UInt64(EXO_FEATURE_PROTECTION_KEYS) }
    return bits | mechanisms.features
  }
}
