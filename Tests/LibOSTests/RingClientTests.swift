import ExoABI
import Testing

@testable import LibOSHost

/// A server that gets to act, at random, whenever the client gives it time or rings.
final class ScriptedBell: RingDoorbell {
  let server: RingServer
  var random: Randomness
  var now: UInt64 = 0
  var rings = (wake: 0, serve: 0, wait: 0)

  init(_ server: RingServer, seed: UInt64) {
    self.server = server
    random = Randomness(state: seed)
  }

  func act() {
    if Bool.random(using: &random) { _ = server.readOne() }
    if Bool.random(using: &random), !server.pending.isEmpty {
      server.postOne(Int.random(in: 0..<server.pending.count, using: &random))
    }
  }

  func wake() {
    rings.wake += 1
    server.service = EXO_SERVICE_POLLED
  }

  func serve() {
    rings.serve += 1
    while server.readOne() {}
    while server.pending.count > 3 {
      server.postOne(Int.random(in: 0..<server.pending.count, using: &random))
    }
  }

  func wait(for completion: UInt32) {
    rings.wait += 1
    var patience = 10000
    while Int32(bitPattern: server.posted &- completion) < 0 {
      act()
      patience -= 1
      precondition(patience > 0, "completion \(completion) will not come")
    }
  }

  // A sleeping server does nothing by itself.
  func pause() { if server.service == EXO_SERVICE_POLLED { act() } }

  var ticks: UInt64 {
    now += 1
    return now
  }
}

@Suite struct RingClientTests {
  func withClient(
    from: UInt32 = 0, seed: UInt64, _ body: (inout RingClient<ScriptedBell>, ScriptedBell) -> Void
  ) {
    let server = RingServer(from: from)
    let bell = ScriptedBell(server, seed: seed)
    let answers = UnsafeMutableRawPointer.allocate(
      byteCount: RingClient<ScriptedBell>.answersSize, alignment: 64)
    defer { answers.deallocate() }
    var client = RingClient(bell: bell)
    client.attach(
      submissions: server.submissions, completions: server.completions, status: server.status,
      answers: answers, patience: 20)
    (client.submitted, client.consumed) = (from, from)
    body(&client, bell)
    #expect(server.complaints == [])
  }

  /// Calls, batches, polls and waits at random, with the server in each of its states, across the wrap of the
  /// counters: every request gets its own answer, once.
  @Test(
    arguments: [(1, 0), (2, 0), (3, UInt32.max - 500), (4, UInt32.max - 64), (5, 1 << 31)]
      as [(UInt64, UInt32)])
  func everyRequestGetsItsOwnAnswer(seed: UInt64, from: UInt32) {
    withClient(from: from, seed: seed) { client, bell in
      var random = Randomness(state: ~seed)
      var out: [(ticket: RingTicket, request: RingRequest)] = []
      for _ in 0..<4000 {
        bell.server.service = Int32.random(in: EXO_SERVICE_POLLED...EXO_SERVICE_EXIT, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0:
          let request = RingRequest(random: &random)
          #expect(request.fits(client.call(request)))
        case 1:
          for _ in 0..<Int.random(in: 1...40, using: &random) {
            let request = RingRequest(random: &random)
            guard let ticket = client.submit(request) else {
              #expect(out.count == 60)
              break
            }
            out.append((ticket, request))
          }
          client.notify()
        case 2 where !out.isEmpty:
          let index = Int.random(in: 0..<out.count, using: &random)
          if let answer = client.poll(out[index].ticket) {
            #expect(out.remove(at: index).request.fits(answer))
          }
        default:
          while !out.isEmpty, Int.random(in: 0..<10, using: &random) > 0 {
            let (ticket, request) = out.remove(at: Int.random(in: 0..<out.count, using: &random))
            #expect(request.fits(client.wait(ticket)))
            #expect(client.wait(ticket) == nil && client.poll(ticket) == nil)
          }
        }
      }
      #expect(bell.rings.wake > 0 && bell.rings.serve > 0 && bell.rings.wait > 0)
      for (ticket, request) in out { #expect(request.fits(client.wait(ticket))) }
      #expect(client.used == 0 && client.arrived == 0)
    }
  }

  /// A call that is never answered, such as a read from the console, blocks no other.
  @Test func onePendingCallBlocksNoOther() {
    withClient(seed: 9) { client, bell in
      let stuck = client.submit(RingRequest(7, 1))!
      client.notify()
      #expect(bell.server.readOne())
      let held = bell.server.pending.removeFirst()
      for number: UInt32 in 0..<1000 {
        let request = RingRequest(number, UInt64(number))
        #expect(request.fits(client.call(request)))
        #expect(client.poll(stuck) == nil)
      }
      bell.server.pending.append(held)
      #expect(RingRequest(7, 1).fits(client.wait(stuck)))
    }
  }

  @Test func callsStillFitWhenAllTicketsAreOut() {
    withClient(seed: 10) { client, bell in
      var tickets: [RingTicket] = []
      while let ticket = client.submit(RingRequest(2)) { tickets.append(ticket) }
      #expect(tickets.count == 60)
      client.notify()
      for _ in 0..<200 { #expect(RingRequest(4).fits(client.call(RingRequest(4)))) }
      for ticket in tickets { #expect(RingRequest(2).fits(client.wait(ticket))) }
    }
  }

  /// Answers that nobody waits for any longer give their places back, those that had come and those that come later.
  @Test func abandonedAnswersKeepNoPlace() {
    withClient(seed: 11) { client, bell in
      let come = client.submit(RingRequest(2))!
      client.notify()
      while client.arrived == 0 {
        bell.act()
        _ = client.poll(RingTicket(tag: .max))
      }
      client.abandon(come)
      #expect(client.used == 0)
      for _ in 0..<50 {
        for _ in 0..<60 { client.abandon(client.submit(RingRequest(2))!) }
        client.notify()
        while client.used != 0 { #expect(RingRequest(4).fits(client.call(RingRequest(4)))) }
      }
      #expect(client.abandoned == 0)
      // A place's next user is not the one that was abandoned.
      let gone = client.submit(RingRequest(2))!
      client.abandon(gone)
      #expect(client.wait(gone) == nil)
      for _ in 0..<200 { #expect(RingRequest(6).fits(client.call(RingRequest(6)))) }
    }
  }

  /// A ticket whose place has gone to another request, answered or not, gets nothing, and takes nothing.
  @Test func aUsedTicketStaysUsed() {
    withClient(seed: 12) { client, bell in
      let old = client.submit(RingRequest(2))!
      #expect(client.wait(old) != nil)
      let new = client.submit(RingRequest(4))!
      #expect(old.tag & 63 == new.tag & 63)
      #expect(client.poll(old) == nil)
      client.notify()
      for _ in 0..<1000 {
        bell.act()
        #expect(client.poll(old) == nil)
      }
      #expect(client.poll(new) != nil)
      let last = client.submit(RingRequest(6))!
      #expect(client.wait(old) == nil)
      for _ in 0..<1000 {
        bell.act()
        #expect(client.poll(old) == nil)
      }
      #expect(client.arrived != 0)
      #expect(client.wait(old) == nil)
      #expect(RingRequest(6).fits(client.wait(last)))
    }
  }

  /// Which doorbell is rung, and how often, for a batch.
  @Test(arguments: [EXO_SERVICE_POLLED, EXO_SERVICE_ASLEEP, EXO_SERVICE_EXIT])
  func aBatchRingsOnce(service: Int32) {
    withClient(seed: 11) { client, bell in
      bell.server.service = service
      let tickets = (0..<20).map { _ in client.submit(RingRequest(2))! }
      #expect(bell.rings == (0, 0, 0))
      client.notify()
      #expect(bell.rings.wake == (service == EXO_SERVICE_ASLEEP ? 1 : 0))
      #expect(bell.rings.serve == (service == EXO_SERVICE_EXIT ? 1 : 0))
      for ticket in tickets { #expect(client.wait(ticket) != nil) }
    }
  }
}
