import BenchKit
import BenchLinux
import Exo
import ExoGuests

/// Rows about datagrams: from Linux over one end of a pair of interfaces to an environment at the other, and back. The
/// guest is `echo`; Linux's counterpart is in Benchmarks/Linux/wire.c, with the same client.
@safe final class NetworkRows {
  // Valid until `deinit`; used by one thread at a time, since this class is not Sendable.
  private var wire: OpaquePointer?
  private var machine: Machine?
  private var session: GuestSession?
  /// Environments that compute.
  private var others: [GuestSession] = []
  /// The row that it is for.
  private var current = ""

  deinit {
    end()
    unsafe bench_wire_close(wire)
  }

  static func has(_ row: BenchRow) -> Bool { rows[row.id] != nil }

  /// Ends whatever runs for the last row.
  func end() {
    session?.close()
    session = nil
    others = []
    machine?.stop()
    machine = nil
  }

  private static let rows: [String: (byHandler: Bool, others: Int)] = [
    "udp_rtt": (false, 0), "udp_rtt_ash": (true, 0), "udp_rtt_beside_9": (false, 9),
    "udp_rtt_ash_beside_9": (true, 9),
  ]

  /// Nil: no row of these.
  func sample(_ row: BenchRow, _ iterations: UInt32) throws(SampleError) -> Double? {
    guard let kind = Self.rows[row.id] else { return nil }
    if session == nil || current != row.id { try prepare(byHandler: kind.byHandler, others: kind.others) }
    current = row.id
    let nanoseconds = unsafe bench_wire_round_trips(wire!, iterations)
    guard nanoseconds >= 0 else { throw .failed("a datagram: \(errorText(Int32(-nanoseconds)))") }
    return nanoseconds
  }

  private func prepare(byHandler: Bool, others count: Int) throws(SampleError) {
    end()
    guard let bytes = ExoGuests.image("GuestNetwork") else { throw .unavailable("the guest is not built in") }
    // Linux would go on looking for an environment at the address of the one before.
    unsafe bench_wire_close(wire)
    let opened = unsafe bench_wire_open(&wire)
    guard opened >= 0 else { throw .unavailable("no network namespace: \(errorText(-opened))") }
    do {
      let image = try GuestImage(name: "echo", bytes: bytes)
      let machine = try Machine()
      self.machine = machine
      // The socket is the wire's for good.
      guard unsafe bench_wire_enter(wire!) >= 0 else { throw SampleError.unavailable("no network namespace") }
      defer { unsafe bench_wire_leave(wire!) }
      try machine.attach(.interface("exo1"))
      let session = try GuestSession(
        machine, image, arguments: ["echo", "7"] + (byHandler ? ["--ash"] : []),
        variables: ["EXO_IP=10.77.0.2/24"], isOnNetwork: true)
      while try session.line() != "ready at port 7" {}
      self.session = session
      for _ in 0..<count { others.append(try Self.busy(in: machine)) }
    } catch let error as SampleError {
      throw error
    } catch {
      throw .failed("\(error)")
    }
    // The first has neighbours to find.
    _ = unsafe bench_wire_round_trips(wire!, 1)
  }

  /// An environment that computes until its machine ends.
  private static func busy(in machine: Machine) throws(SampleError) -> GuestSession {
    guard let bytes = ExoGuests.image("GuestBench") else { throw .unavailable("the guest is not built in") }
    let image: GuestImage
    do { image = try GuestImage(name: "bench", bytes: bytes) } catch { throw .failed("\(error)") }
    let session = try GuestSession(machine, image, arguments: ["bench"])
    try session.tell("procedure_call \(UInt64(1) << 60)\n")
    return session
  }
}
