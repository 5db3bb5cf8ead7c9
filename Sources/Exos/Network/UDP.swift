/// UDP (RFC 768).
public struct Datagram: Equatable, Sendable {
  public var from: Endpoint
  /// The address of this host, or of a group, that it was sent to.
  public var to: IPAddress
  public var payload: [UInt8]
}

struct UDPSocketState {
  let port: UInt16
  var queue: [Datagram] = []
  var bytes = 0
  static let queueLimit = 64
  static let byteLimit = 1 << 17
}

/// A port of a stack.
///
///     let socket = try UDPSocket(stack, port: 7)
///     while let datagram = socket.receive() { try socket.send(datagram.payload, to: datagram.from) }
public final class UDPSocket {
  private let stack: NetworkStack
  public let port: UInt16

  /// - Parameters:
  ///   - stack: the stack that the socket belongs to.
  ///   - port: nil for one that is free.
  /// - Throws: `portInUse`.
  public init(_ stack: NetworkStack, port: UInt16? = nil) throws(NetworkError) {
    self.stack = stack
    self.port = try stack.open(port)
  }
  deinit { stack.close(port) }

  /// Sends a datagram of at most 65,507 bytes.
  /// - Throws: `noAddress`, `noRoute`, `tooLarge`.
  public func send(_ payload: [UInt8], to endpoint: Endpoint) throws(NetworkError) {
    try stack.sendUDP(payload, from: port, to: endpoint)
  }

  /// The oldest datagram that has come; nil if there is none.
  public func receive() -> Datagram? { stack.receive(port) }
}

extension NetworkStack {
  func open(_ wanted: UInt16?) throws(NetworkError) -> UInt16 {
    func isOpen(_ port: UInt16) -> Bool { sockets.contains { $0.port == port } }
    var port = wanted ?? nextPort
    if wanted == nil {
      var tries = 0
      while isOpen(port) || port < 49_152 {
        guard tries < 16_384 else { throw .portInUse }
        tries += 1
        port = port == .max ? 49_152 : port + 1
      }
      nextPort = port == .max ? 49_152 : port + 1
    }
    guard port != 0, !isOpen(port) else { throw .portInUse }
    sockets.append(UDPSocketState(port: port))
    return port
  }
  func close(_ port: UInt16) { sockets.removeAll { $0.port == port } }

  func receive(_ port: UInt16) -> Datagram? {
    guard let index = sockets.firstIndex(where: { $0.port == port }), !sockets[index].queue.isEmpty else {
      return nil
    }
    let datagram = sockets[index].queue.removeFirst()
    sockets[index].bytes -= datagram.payload.count
    return datagram
  }

  func sendUDP(_ payload: [UInt8], from port: UInt16, to endpoint: Endpoint) throws(NetworkError) {
    guard payload.count <= 65_507 else { throw .tooLarge }
    let source = try source(for: endpoint.address)
    var segment = [UInt8](room: 8, copying: payload[...])
    segment.set(half: port, at: 0)
    segment.set(half: endpoint.port, at: 2)
    segment.set(half: UInt16(8 + payload.count), at: 4)
    let checksum = PseudoHeader.checksum(from: source, to: endpoint.address, proto: 17, segment[...])
    // 0 would say that there is none.
    segment.set(half: checksum == 0 ? 0xffff : checksum, at: 6)
    if case .v4(.any) = source {
      guard case .v4(.broadcast) = endpoint.address else { throw .noAddress }
    }
    try send(17, segment, from: source, to: endpoint.address)
  }

  func receiveUDP(_ segment: ArraySlice<UInt8>, from source: IPAddress, to destination: IPAddress) {
    guard let from = segment.half(0), let to = segment.half(2), let length = segment.half(4).map(Int.init),
      let checksum = segment.half(6), length >= 8, length <= segment.count
    else {
      counters.malformed &+= 1
      return
    }
    let whole = segment.prefix(length)
    // Only IPv4 may leave it out.
    var isChecked = true
    if checksum == 0, case .v4 = destination { isChecked = false }
    guard !isChecked || PseudoHeader.checksum(from: source, to: destination, proto: 17, whole) == 0 else {
      counters.badChecksums &+= 1
      return
    }
    guard let index = sockets.firstIndex(where: { $0.port == to }) else {
      counters.noSocket &+= 1
      return
    }
    let size = length - 8
    guard sockets[index].queue.count < UDPSocketState.queueLimit,
      sockets[index].bytes + size <= UDPSocketState.byteLimit
    else { return }
    sockets[index].bytes += size
    sockets[index].queue.append(
      Datagram(from: Endpoint(source, port: from), to: destination, payload: [UInt8](copying: whole.rest(8))))
    counters.delivered &+= 1
  }
}
