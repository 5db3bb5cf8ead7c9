/// Why a machine could not be made.
public enum MachineError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The device is not there: the host's kernel has no KVM, or it was not passed into this container.
  case noKVM(path: String)
  /// The device is there but this user may not open it.
  case permissionDenied(path: String)
  /// The device speaks another version of the interface than 12.
  case wrongVersion(Int)
  /// KVM lacks something Exo cannot do without.
  case missingCapability(String)
  /// The wanted size is zero, not a whole number of pages, or past what frame numbers or the host can hold.
  case badMemorySize(bytes: UInt64, limit: UInt64)
  case host(HostError)

  public var description: String {
    switch self {
    case .noKVM(let path):
      "there is no KVM at \(path): load the kvm module, or pass the device into this container"
    case .permissionDenied(let path):
      "no permission to open \(path): add yourself to its group (usually `sudo usermod -aG kvm $USER`, then log in again) or run as root"
    case .wrongVersion(let version):
      "KVM speaks version \(version) of its interface, Exo needs 12"
    case .missingCapability(let name):
      "this KVM lacks \(name), which Exo needs; run `exorun doctor` for the whole list"
    case .badMemorySize(let bytes, let limit):
      bytes == 0
        ? "a machine needs memory: 0 bytes were asked for"
        : "\(bytes) bytes of memory were asked for; this host can give a machine 1 MiB to \(limit >> 20) MiB, in whole pages"
    case .host(let error): error.description
    }
  }
}
