import TestSupport
import Testing

@testable import Exo

/// tcpdump's language, against the interpreter of those who made it.
@Suite(.requires(.libpcap)) struct CaptureExpressionTests {
  @Test(arguments: [
    ("", 1), ("ip", 1), ("arp", 1), ("tcp dst port 80", 2), ("ip and tcp dst port 80", 1),
    ("tcp port 443", 4),
    ("host 10.0.0.1", 6), ("src net 10.0.0.0/8 and udp dst port 53", 1), ("ip6 and dst host fe80::1", 1),
    ("ether dst 02:00:00:00:00:01", 1), ("vlan 5 and ip", 3), ("tcp[13] & 2 != 0 and ip", 1), ("icmp", 1),
    ("ip proto 132", 1), ("udp port 53 or tcp port 22", 8), ("tcp or tcp dst port 80", 3),
    ("ip[8] = 64", 1), ("ip and (src port 53 or dst port 80)", 6),
  ])
  func anExpressionIsItsFilters(expression: String, count: Int) throws {
    let filters = try Filter.matching(expression)
    #expect(filters.count == count, "\(filters)")
    let pcap = try #require(LibPCAP())
    let program = try PacketLibrary.compile(expression).map {
      ClassicBPF.Instruction(code: $0.code, whenTrue: $0.whenTrue, whenFalse: $0.whenFalse, k: $0.k)
    }
    var maker = PacketMaker(seed: 99)
    var matched = 0
    for _ in 0..<KernelRun.packets(2500) {
      // The old machine refuses a packet for a byte it looks at on the way: what is cut short is another matter.
      let packet = maker.packet() + [UInt8](repeating: 0, count: 80)
      let expected = pcap.run(program, packet)
      guard filters.contains(where: { $0.matches(packet.span) }) == expected else {
        Issue.record("\(expected) is wrong for \(packet)")
        return
      }
      if expected { matched += 1 }
    }
    #expect(matched > 0)
  }

  @Test(arguments: [
    ("not ip", "not"), ("portrange 1-100", "range"), ("len > 100", "instruction"), ("ip[2] > 3", "range"),
    ("ip and not tcp", "not"),
  ])
  func whatIsNoFilterIsRefusedWithTheReason(expression: String, word: String) {
    do throws(ExpressionError) {
      let filters = try Filter.matching(expression)
      Issue.record("\(expression) was made \(filters)")
    } catch {
      #expect("\(error)".contains(word), "\(error)")
      #expect("\(error)".contains(expression))
    }
  }

  @Test func libpcapsOwnWordsAreGivenForABadExpression() {
    #expect(throws: ExpressionError.self) { _ = try Filter.matching("tcp dst prot 80") }
    do { _ = try Filter.matching("((") } catch { #expect(!"\(error)".isEmpty) }
  }
}
