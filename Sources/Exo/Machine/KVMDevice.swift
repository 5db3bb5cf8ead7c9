import CKVM
import ExoABI
import Glibc

/// The device that makes virtual machines, and what the KVM behind it offers.
public struct KVMDevice: Sendable {
  /// Something KVM has or has not.
  public struct Capability: Sendable {
    public let name: String
    /// 0 if KVM lacks it; for some, a count.
    public let value: Int
    /// Whether no machine can be made without it.
    public let isRequired: Bool
    /// What Exo does with it.
    public let purpose: String
  }
  public let version: Int
  public let capabilities: [Capability]

  /// Asks the device at `path`.
  /// - Throws: what `Machine.init` would, but for capabilities that are missing.
  public init(path: String = "/dev/kvm") throws(MachineError) {
    let kvm = try Self.open(path)
    version = 12
    capabilities = Self.known.map {
      Capability(
        name: $0.name, value: Int(max(0, ckvm_check_extension(kvm.number, $0.number))),
        isRequired: $0.isRequired, purpose: $0.purpose)
    }
  }

  private static var known: [(number: CInt, name: String, isRequired: Bool, purpose: String)] {
    [
      (ckvm_cap_user_memory, "user memory", true, "a machine's memory"),
      (ckvm_cap_ioeventfd, "ioeventfd", true, "the doorbell"),
      (ckvm_cap_sync_regs, "synchronised registers", true, "registers without further calls"),
      (ckvm_cap_immediate_exit, "immediate exit", true, "ending and preempting an environment"),
      (ckvm_cap_manual_dirty_log_protect2, "manual dirty log", false, "cheap write protection of pages"),
      (ckvm_cap_xsave, "xsave", false, "clean vector registers for the next environment"),
      (ckvm_cap_xcrs, "xcrs", false, "AVX in environments"),
      (ckvm_cap_vcpu_events, "vCPU events", false, "reusing a virtual processor"),
      (ckvm_cap_debugregs, "debug registers", false, "reusing a virtual processor"),
      (ckvm_cap_get_tsc_khz, "counter frequency", false, "telling the time without a call"),
      (ckvm_cap_x86_msr_filter, "MSR filter", false, "denying model-specific registers to guests"),
      (ckvm_cap_max_vcpus, "virtual processors", false, "environments that run at once"),
      (ckvm_cap_nr_memslots, "memory slots", false, "large machines"),
    ]
  }

  /// Opens the device and makes sure that it is KVM, of the one version there is.
  static func open(_ path: String) throws(MachineError) -> Descriptor {
    let result = unsafe path.withCString { unsafe ckvm_open($0) }
    switch -result {
    case EXO_ENOENT, ENXIO, ENODEV: throw .noKVM(path: path)
    case EXO_EPERM, EACCES: throw .permissionDenied(path: path)
    default: break
    }
    guard result >= 0 else { throw .host(HostError("opening \(path)", result)) }
    let kvm = Descriptor(result)
    let version = ckvm_api_version(kvm.number)
    guard version == 12 else { throw version < 0 ? .noKVM(path: path) : .wrongVersion(Int(version)) }
    return kvm
  }

  /// Throws for the first capability that no machine can be made without and that is missing.
  static func requireCapabilities(of kvm: borrowing Descriptor) throws(MachineError) {
    for capability in known where capability.isRequired {
      guard ckvm_check_extension(kvm.number, capability.number) > 0 else {
        throw .missingCapability(capability.name)
      }
    }
  }
}
