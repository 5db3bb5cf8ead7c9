import ExoABI
import Testing

@testable import Exo

/// Gates and connections without anything running: where slots lead, who is told, and what is left of them. The invariant checker
/// looks at every slot and frame.
@Suite struct TransferTests {
  private let bench: KernelBench
  private let server: EnvironmentID
  private let client: EnvironmentID
  private let gate: CapabilityHandle
  private let call: CapabilityHandle

  init() throws {
    bench = try KernelBench()
    server = try bench.domain()
    client = try bench.domain()
    for id in [server, client] {
      try bench.executable(at: 0x40_0000, in: id)
      try bench.call(EXO_CALL_transfer_bind, 0x40_0000, by: id)
    }
    gate = CapabilityHandle(rawValue: UInt64(try bench.call(EXO_CALL_gate_create, by: server).result))
    call = try bench.kernel.capabilities.grant(
      gate, from: server, to: client,
      as: Authority(try bench.kernel.inspect(gate, in: server).resource, .call))
  }

  private func expectSound(_ comment: Comment? = nil) {
    #expect(bench.kernel.checkInvariants() == [], comment)
  }
  private func connect() throws -> UInt64 {
    UInt64(try bench.call(EXO_CALL_gate_connect, call.rawValue, by: client).result)
  }
  private func leads(_ id: EnvironmentID, _ number: UInt64) -> UInt64? {
    bench.kernel.domains[id].map {
      $0.shell.transfer.badge(Int(number), in: bench.kernel.memory) & PageTableEntry.addressMask
    }
  }
  private func root(_ id: EnvironmentID) -> UInt64? {
    bench.kernel.domains[id]?.shell.space.root.address.value
  }
  private func peer(_ id: EnvironmentID, _ number: UInt64) throws -> UInt32 {
    let start = try #require(bench.kernel.domains[id]?.shell.start.address.value)
    return bench.kernel.memory.load32(PhysicalAddress(start + UInt64(EXO_PEERS_OFFSET) + number * 8))
  }

  @Test func aConnectionLeadsThereAndBack() throws {
    expectSound("before")
    let number = try connect()
    expectSound()
    #expect(leads(client, number) == root(server))
    #expect(leads(server, 0) == root(client))
    #expect(try peer(client, number) == UInt32(EXO_PEER_RUNNABLE))
    let gate = UInt64(try #require(bench.kernel.connections.values.first?.gate))
    // Each learns who comes from what the slots say, and through which gate from its start page.
    let transfers = try [client, server].map { try #require(bench.kernel.domains[$0]?.shell.transfer) }
    let low = transfers.map { $0.badge(0, in: bench.kernel.memory) & 0xfff }
    #expect(low == [UInt64(EXO_TRANSFER_CALLED), UInt64(EXO_TRANSFER_RETURNED)])
    let refused = UInt64(7 << EXO_TRANSFER_NUMBER_SHIFT | EXO_TRANSFER_REFUSED)
    #expect(transfers[0].badge(7, in: bench.kernel.memory) & 0xfff == refused)
    for (id, number) in [(client, number), (server, 0)] {
      let start = try #require(bench.kernel.domains[id]?.shell.start.address.value)
      let word = PhysicalAddress(start + UInt64(EXO_PEER_GATES_OFFSET) + number * 4)
      #expect(UInt64(bench.kernel.memory.load32(word)) == gate)
    }
    let news = UInt64(EXO_GATE_CONNECTED) | UInt64(EXO_GATE_LOCAL) | gate << 8
    #expect(bench.kernel.signals.map(\.1) == [Event(kind: .gate, data: 0, value: news)])
  }

  /// With one connection an environment leaves by that, with more by the number that it says, with none not at all.
  @Test func theOnlyConnectionNeedsNoNumber() throws {
    func stub(_ id: EnvironmentID) -> TransferPage.Stub? { bench.kernel.domains[id]?.transferStub }
    func alone(_ id: EnvironmentID) -> UInt64? {
      bench.kernel.domains[id].map { $0.shell.transfer.loadAlone(in: bench.kernel.memory) }
    }
    #expect(stub(client) == .selecting)
    let first = try connect()
    #expect(stub(client) == .alone(Int(first)) && stub(server) == .alone(0))
    #expect((alone(client) ?? 0) & PageTableEntry.addressMask == root(server))
    expectSound("one")
    let second = try connect()
    #expect(stub(client) == .selecting && stub(server) == .selecting)
    expectSound("two")
    try bench.call(EXO_CALL_gate_disconnect, first, by: client)
    #expect(stub(client) == .alone(Int(second)))
    // The server has not let go of the first yet.
    #expect(stub(server) == .selecting)
    expectSound("one again")
    try bench.call(EXO_CALL_gate_disconnect, 0, by: server)
    #expect(stub(server) == .alone(1))
    // Closed by the other end it leads nowhere, as before.
    try bench.call(EXO_CALL_gate_disconnect, 1, by: server)
    #expect((alone(client) ?? 0) & PageTableEntry.addressMask == root(client))
    expectSound("closed")
    let page = try #require(bench.kernel.domains[client]?.shell.transfer)
    page.lead(
      Int(EXO_CONNECTIONS), to: PhysicalAddress(root(server) ?? 0), as: .called, 0, in: bench.kernel.memory)
    #expect(!bench.kernel.checkInvariants().isEmpty, "an only connection that leads elsewhere is seen")
  }

  /// From each instruction of the stubs on, what is left to do.
  @Test func stepsOfATransfer() {
    func step(_ stub: Int32, _ place: Int32) -> TransferStep? { TransferStep(offset: Int64(stub + place)) }
    #expect(
      [0, 5, 12, 15].map { step(EXO_NUCLEUS_TRANSFER_STUB, $0) } == [.load, .load, .switchSpace, .leave])
    #expect(
      [0, 8, 11].map { step(EXO_NUCLEUS_TRANSFER_ALONE_STUB, $0) } == [.loadAlone, .switchSpace, .leave])
    #expect([0, 14].map { step(EXO_NUCLEUS_TRANSFER_KEYS_STUB, $0) } == [.forget(0), .forget(14)])
    for (stub, place) in [
      (EXO_NUCLEUS_TRANSFER_STUB, 17), (EXO_NUCLEUS_TRANSFER_ALONE_STUB, 13),
      (EXO_NUCLEUS_TRANSFER_KEYS_STUB, -1), (0, 0),
    ] {
      #expect(step(stub, Int32(place)) == nil)
    }
  }

  @Test func whatBecomesOfAConnectionIsRecorded() throws {
    let reader = TraceReader(bench.kernel.trace, [.gate])
    let second = try bench.call(EXO_CALL_gate_create, by: server)
    let number = try connect()
    let made = UInt32(second.values.0)
    let gate = try #require(bench.kernel.connections.values.first?.gate)
    try bench.call(EXO_CALL_gate_disconnect, number, by: client)
    let records = reader.read()
    #expect(
      records.map(\.event) == [
        .gateMade(made), .connected(to: server, gate: gate, number: UInt32(number)),
        .disconnected(number: UInt32(number)), .disconnected(number: 0),
      ])
    #expect(records.map(\.environment) == [server, client, client, server])
  }

  /// Where an environment has left it is entered again, until its entry is bound anew.
  @Test func aFrameStaysUntilTheEntryIsBound() throws {
    let memory = bench.kernel.memory
    let transfer = try #require(bench.kernel.domains[client]?.shell.transfer)
    let frame = PhysicalAddress(
      transfer.frame.address.value + UInt64(EXO_TRANSFER_FRAME_TOP - EXO_TRANSFER_FRAME_SIZE))
    #expect(transfer.words(in: memory) == [0x40_0000, UInt64(EXO_USER_CS), 0x202, 0, UInt64(EXO_USER_SS)])
    memory.store(0x40_0010, frame)
    _ = try connect()
    #expect(transfer.words(in: memory)[0] == 0x40_0010)
    expectSound("left")
    try bench.call(EXO_CALL_transfer_bind, 0x40_0000, by: client)
    #expect(transfer.words(in: memory)[0] == 0x40_0000)
    // One that could not be of ring 3.
    memory.store(exo_nucleus_text, frame)
    #expect(!bench.kernel.checkInvariants().isEmpty)
  }

  enum Way: CaseIterable { case disconnect, dropGate, revoke, dropCall, serverEnds, clientEnds }
  /// Whatever it stood on goes: no transfer comes through, and nothing is left when both have let go.
  @Test(arguments: Way.allCases) func endsWithWhatItStoodOn(_ way: Way) throws {
    let free = bench.kernel.frames.freeCount
    let number = try connect()
    bench.kernel.signals = []
    switch way {
    case .disconnect: try bench.call(EXO_CALL_gate_disconnect, number, by: client)
    case .dropGate: try bench.call(EXO_CALL_capability_drop, gate.rawValue, by: server)
    case .revoke: try bench.call(EXO_CALL_capability_revoke, gate.rawValue, by: server)
    case .dropCall: try bench.call(EXO_CALL_capability_drop, call.rawValue, by: client)
    case .serverEnds: bench.kernel.destroyDomain(server)
    case .clientEnds: bench.kernel.destroyDomain(client)
    }
    expectSound("\(way)")
    if way != .clientEnds { #expect(leads(client, number) == root(client)) }
    if way != .serverEnds {
      #expect(leads(server, 0) == root(server))
      #expect(try peer(server, 0) == UInt32(EXO_PEER_CLOSED))
      try bench.call(EXO_CALL_gate_disconnect, 0, by: server)
    }
    if way != .clientEnds, way != .disconnect {
      #expect(throws: Refusal.brokenPipe) { try bench.call(EXO_CALL_gate_signal, number, by: client) }
      try bench.call(EXO_CALL_gate_disconnect, number, by: client)
    }
    #expect(bench.kernel.connections.isEmpty)
    #expect(!bench.kernel.signals.isEmpty)
    if way != .serverEnds, way != .clientEnds {
      bench.kernel.reclaim()
      #expect(bench.kernel.frames.freeCount == free)
    }
    expectSound("\(way), after both let go")
  }

  @Test func aStoppedServerIsNotEntered() throws {
    let number = try connect()
    bench.kernel.hold(gatesOf: server, true)
    #expect(leads(client, number) == root(client))
    // Its own returns go on.
    #expect(leads(server, 0) == root(client))
    expectSound("held")
    bench.kernel.hold(gatesOf: server, false)
    #expect(leads(client, number) == root(server))
    expectSound("let go")
  }

  @Test func limits() throws {
    #expect(throws: Refusal.invalid) { try bench.call(EXO_CALL_gate_connect, gate.rawValue, by: server) }
    for _ in 0..<13 { _ = try connect() }
    expectSound()
    // 20 bindings of the client: its entry, then connections.
    #expect(throws: Refusal.quota) { for _ in 0..<60 { _ = try connect() } }
    expectSound()
    #expect(throws: Refusal.busy) { try bench.call(EXO_CALL_transfer_bind, 0, by: server) }
    #expect(throws: Refusal.busy) {
      try bench.call(EXO_CALL_exception_bind, 4, 0x40_0000, exo_stack_top, by: server)
    }
  }

  @Test func onlyWithTheRightToCall() throws {
    let other = try bench.kernel.capabilities.grant(
      gate, from: server, to: client,
      as: Authority(try bench.kernel.inspect(gate, in: server).resource, .control))
    #expect(throws: Refusal.notPermitted) {
      try bench.call(EXO_CALL_gate_connect, other.rawValue, by: client)
    }
    expectSound()
  }

  @Test func onTwoProcessorsNothingLeadsAcross() throws {
    bench.kernel.domains[server]?.processor = 1
    let number = try connect()
    expectSound()
    #expect(leads(client, number) == root(client))
    #expect(try peer(client, number) == UInt32(EXO_PEER_RUNNABLE))
  }
}

extension KernelBench {
  /// A page of the environment's own that it may execute.
  func executable(at address: UInt64, in id: EnvironmentID) throws {
    let handle = UInt64(
      bitPattern: try call(EXO_CALL_frame_allocate, UInt64(EXO_FRAME_ANY), 1, by: id).result)
    let rights = UInt64(EXO_READ | EXO_EXECUTE)
    try call(EXO_CALL_map, handle, 0, address, 1, rights, by: id)
  }
}
