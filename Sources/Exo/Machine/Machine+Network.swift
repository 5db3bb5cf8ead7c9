import CKVM
import ExoABI
import Synchronization

/// What an environment needs to use the network: handles in its own table, and the address it sends from.
public struct NetworkAdmission: Hashable, Sendable {
  /// Of a capability to a filter: what it may claim at most.
  public let filter: UInt64
  /// Of a capability to a template: what it may send at most.
  public let transmit: UInt64
  public let address: MACAddress

  /// As an environment is told, in the variable `EXO_NET`: `FILTER:TRANSMIT:MAC`, the address as 12 hexadecimal digits.
  public var variable: String {
    let digits = String(address.bits, radix: 16)
    return "EXO_NET=\(filter):\(transmit):\(String(repeating: "0", count: 12 - digits.count))\(digits)"
  }
}

extension Machine {
  /// Lets an environment onto the machine's network: through the switch to the others, and to the device if there is one.
  ///
  /// - Parameters:
  ///   - environment: who is let in.
  ///   - claim: what it may claim; nil for whatever nobody else has claimed.
  ///   - sources: what it may send, any of them; nil for everything from the address it is given.
  public func admit(
    _ environment: Environment, claim: [Filter]? = nil, sources: [Filter]? = nil
  ) throws(ShareError) -> NetworkAdmission {
    let address = networkAddress(of: environment.id)
    return try withKernel { (kernel) throws(ShareError) in
      do {
        // An address by itself excludes nothing, so this is a filter.
        let own = try Filter.ethernet.from(address).filter
        return NetworkAdmission(
          filter: try kernel.admit(environment.id, .filter, claim ?? [.everything]).rawValue,
          transmit: try kernel.admit(environment.id, .transmit, sources ?? [own]).rawValue,
          address: address)
      } catch let refusal as Refusal {
        throw refusal == .quota
          ? .quotaExceeded(environment.name, .capabilities, asked: 2) : .hasEnded(environment.name)
      } catch {
        throw .hasEnded(environment.name)
      }
    }
  }

  /// Connects the switch between environments to a device: what none of them has claimed goes there, and what comes from there goes
  /// to whoever claimed it. A machine has one at most; a second takes the place of the first.
  public func attach(_ attachment: NetworkAttachment) throws(HostError) {
    let (hasSpare, processors) = (hasSpareProcessor, processors)
    let device = try NetworkDevice(attachment, processors: processors.count) { hasWoken in
      hasSpare || !hasWoken && processors.contains { $0.isAsleep }
    }
    try device.start { [network, weak self] batch, queue in
      let told = network.deliver(batch, from: queue)
      self?.tell(told)
      return !told.isEmpty
    }
    detach()
    self.device.withLock { $0 = device }
    network.withState { $0.device = device }
  }

  /// Two ends of a stream of frames: one for `attach`, the other for a program that inherits it.
  public static func frameStream() throws(HostError) -> (own: Int32, other: Int32) {
    try DeviceOpening.streamPair()
  }

  /// Whether the host has a processor besides those for environments, and for the service.
  private var hasSpareProcessor: Bool {
    var numbers = [CInt](repeating: 0, count: 1024)
    return unsafe Int(ckvm_allowed_processors(&numbers, 1024)) > processors.count + 1
  }

  func detach() {
    let old = device.withLock { device in
      defer { device = nil }
      return device
    }
    guard let old else { return }
    network.withState { $0.device = nil }
    old.stop()
  }

  /// Locally administered, unique in the machine, and hardly ever another machine's.
  private func networkAddress(of id: EnvironmentID) -> MACAddress {
    let machine = UInt64(truncatingIfNeeded: birth ^ birth >> 16)
    return MACAddress(
      0x02, UInt8(truncatingIfNeeded: machine), UInt8(truncatingIfNeeded: machine >> 8),
      UInt8(truncatingIfNeeded: machine >> 24), UInt8(truncatingIfNeeded: id.number >> 8),
      UInt8(truncatingIfNeeded: id.number))
  }

  /// Posts the events for packets that have come.
  func tell(_ receivers: [(environment: EnvironmentID, ring: Int)]) {
    for (id, ring) in receivers { environment(id)?.post(Event(kind: .packets, data: UInt32(ring))) }
  }
}
