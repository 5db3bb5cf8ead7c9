import Glibc
import Testing

/// Something beyond the toolchain that a test needs. Where it is missing the test is skipped with the line to type;
/// where the environment variable `EXO_REQUIRE` names it (`EXO_REQUIRE=kvm,qemu`), the test fails instead.
///
///     @Test(.requires(.kvm)) func guestExits() async throws { ... }
public struct Requirement: Sendable {
  /// What `EXO_REQUIRE` calls it.
  public let name: String
  /// What is missing and what to type, or nil if all is there. Found out once.
  public let missing: String?

  public init(name: String, missing: String?) {
    self.name = name
    self.missing = missing
  }

  /// A /dev/kvm that this user may open.
  public static let kvm = Requirement(name: "kvm", missing: whatKVMLacks())

  /// The right to do what only root may.
  public static let root = Requirement(
    name: "root", missing: geteuid() == 0 ? nil : "run the tests as root: sudo swift test")

  /// A program on the search path.
  /// - Parameter package: the Debian package that installs it.
  public static func program(_ program: String, package: String) -> Requirement {
    Requirement(
      name: program,
      missing: isOnPath(program)
        ? nil : "\(program) is not installed: sudo apt-get install -y \(package)")
  }

  /// Whether `EXO_REQUIRE` turns a skip into a failure.
  public var isDemanded: Bool {
    guard let list = environmentVariable("EXO_REQUIRE") else { return false }
    return list.split(separator: ",").contains { $0 == name }
  }

  /// Missing although it was demanded.
  public struct Unmet: Error, CustomStringConvertible {
    public let description: String
  }

  /// True if all is there, false to skip; throws if it is missing and demanded.
  public func isMet() throws(Unmet) -> Bool {
    guard let missing else { return true }
    if isDemanded { throw Unmet(description: "EXO_REQUIRE demands \(name): \(missing)") }
    return false
  }

  private static func whatKVMLacks() -> String? {
    let descriptor = open("/dev/kvm", O_RDWR | O_CLOEXEC)
    if descriptor >= 0 {
      close(descriptor)
      return nil
    }
    switch errno {
    case EACCES, EPERM: return "/dev/kvm may not be opened: sudo usermod -aG kvm $USER, then log in again"
    default:
      return "there is no usable /dev/kvm: sudo modprobe kvm_intel (or kvm_amd), or pass the device in"
    }
  }

  private static func isOnPath(_ program: String) -> Bool {
    (environmentVariable("PATH") ?? "/usr/bin:/bin").split(separator: ":").contains {
      access("\($0)/\(program)", X_OK) == 0
    }
  }
}

extension Trait where Self == ConditionTrait {
  /// Skips the test, or fails it if `EXO_REQUIRE` says so, where a requirement is missing.
  public static func requires(_ requirement: Requirement) -> Self {
    .enabled(Comment(rawValue: requirement.missing ?? requirement.name)) { try requirement.isMet() }
  }
}

/// A variable of this process's environment.
public func environmentVariable(_ name: String) -> String? {
  guard let value = getenv(name) else { return nil }
  return String(cString: value)
}
