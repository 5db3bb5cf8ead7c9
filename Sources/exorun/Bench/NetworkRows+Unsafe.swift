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
  /// The row that it is for.
  private var current = ""

  deinit {
    session?.close()
    machine?.stop()
    unsafe bench_wire_close(wire)
  }

  /// Nil: no row of these.
  func sample(_ row: BenchRow, _ iterations: UInt32) throws(SampleError) -> Double? {
    guard row.id == "udp_rtt" || row.id == "udp_rtt_ash" else { return nil }
    if session == nil || current != row.id { try prepare(byHandler: row.id == "udp_rtt_ash") }
    current = row.id
    let nanoseconds = unsafe bench_wire_round_trips(wire!, iterations)
    guard nanoseconds >= 0 else { throw .failed("a datagram: \(errorText(Int32(-nanoseconds)))") }
    return nanoseconds
  }

  private func prepare(byHandler: Bool) throws(SampleError) {
    session?.close()
    session = nil
    machine?.stop()
    machine = nil
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
    } catch let error as SampleError {
      throw error
    } catch {
      throw .failed("\(error)")
    }
    // The first has neighbours to find.
    _ = unsafe bench_wire_round_trips(wire!, 1)
  }
}
