#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// The environment by which others find each other's ports by name.
  ///
  /// It holds what it was given and no more: for each client that its maker introduced, the right to put capabilities into that
  /// client's table, and the rights to send that clients registered. Each client has a port of its own there, so that the
  /// exokernel says who asks; what a client registered goes when it does.
  public enum NameService {
    enum Request: UInt32 {
      case register = 1
      case lookUp = 2
      case remove = 3
    }
    /// What a message that introduces a client carries above its handle's 48 bits.
    static var introduction: UInt64 { 0x6e61_0000_0000_0000 }

    /// Serves for ever.
    /// - Parameter maker: number of the environment whose introductions count.
    public static func serve(maker: UInt32) -> Never {
      var table = NameTable()
      var set = PortSet()
      while true {
        // Not `poll`: that would take what is said of connections from the ports.
        Ports.attend()
        while let event = Events.takeKept(where: { _ in true }) {
          if event.kind == Events.Kind.message.rawValue, event.data == maker,
            event.value & 0xffff_0000_0000_0000 == introduction, let port = welcome(event.value)
          {
            set.ports.append(port)
          }
        }
        do throws(PortError) {
          let message = try set.receive(until: Clock.now + 20_000_000)
          try? answer(message, &table, own: set.ports.map { $0.right })
        } catch {}
        set.ports.removeAll { port in
          guard port.hadSender, port.senders == 0 else { return false }
          for right in table.removeAll(of: port.gate.number) { try? Capability(handle: right).drop() }
          try? port.sender?.capability.drop()
          port.close()
          return true
        }
      }
    }

    /// Makes a port for a client and gives the client the right to it, by an event.
    private static func welcome(_ value: UInt64) -> Port? {
      let client = Environment(
        capability: Capability(handle: value & 0x0000_ffff_ffff_ffff), number: 0)
      guard let port = try? Port() else { return nil }
      port.sender = client
      do throws(ExocallError) {
        let right = try port.right.grant(to: client, .call)
        try Events.post(introduction | right.handle, to: client.capability.handle)
        return port
      } catch {
        port.close()
        return nil
      }
    }

    /// - Parameter own: what the service holds by itself. A message names handles in its table, whoever put them there; so what
    ///   a client may have looked up, or have dropped with it, must be none of these.
    private static func answer(
      _ message: PortMessage, _ table: inout NameTable, own: [Capability]
    ) throws(PortError) {
      let owner = message.port.gate.number
      let deadline = Clock.now + 1_000_000
      do throws(NameTable.Failure) {
        var found: [Capability] = []
        switch Request(rawValue: message.id) {
        case .register:
          guard let right = message.rights.first, !own.contains(right), (try? right.inspect())?.kind == .gate
          else {
            throw .malformed
          }
          try table.register(message.text, owner: owner, right: right.handle)
        case .lookUp: found = [Capability(handle: try table.lookUp(message.text))]
        case .remove: try table.remove(message.text, owner: owner)
        case nil: throw .malformed
        }
        do throws(PortError) { try message.reply(rights: found, until: deadline) } catch {
          // A right that is no more: its port is gone.
          try? message.reply(id: NameTable.Failure.unknown.rawValue, until: deadline)
        }
      } catch { try message.reply(id: error.rawValue, until: deadline) }
    }

    /// Introduces a client, as the service's maker, who has made both.
    /// - Throws: see `capability_grant` and `event_post` in docs/exocalls.md.
    public static func introduce(_ client: Environment, to service: Environment) throws(ExocallError) {
      let handle = try client.capability.grant(to: service, .deliver).handle
      try Events.post(introduction | handle, to: service.capability.handle)
    }
  }

  /// A client's way to the name service.
  public struct Names {
    private let service: SendRight

    /// Waits until the service has been told of this environment.
    /// - Parameters:
    ///   - service: the service's environment, to whose table rights are added; with the right to deliver.
    ///   - deadline: in nanoseconds of `Clock.now`.
    /// - Throws: `timedOut`.
    public init(_ service: Environment, until deadline: UInt64? = nil) throws(ExocallError) {
      while true {
        Ports.attend()
        let introduction = Events.takeKept { event in
          event.kind == Events.Kind.message.rawValue
            && event.value & 0xffff_0000_0000_0000 == NameService.introduction
        }
        if let event = introduction {
          self.service = try SendRight(
            Capability(handle: event.value & 0x0000_ffff_ffff_ffff), to: service)
          return
        }
        if let deadline, Clock.now >= deadline { throw .timedOut }
        Wakeup.sleep(until: deadline)
      }
    }

    /// Lets others find a port. Whoever looks it up may send to it.
    /// - Throws: `exists` if the name is another's, `invalid` for what is no name.
    public func register(_ name: StaticString, _ port: Port, until deadline: UInt64? = nil)
      throws(ExocallError)
    {
      _ = try ask(.register, name, [port.right], deadline)
    }
    /// - Throws: `noEntry` if there is no such name.
    public func lookUp(_ name: StaticString, until deadline: UInt64? = nil) throws(ExocallError) -> Capability
    {
      let answer = try ask(.lookUp, name, [], deadline)
      guard answer.rightCount == 1 else { throw .noEntry }
      return Capability(handle: answer.right(0))
    }
    /// - Throws: `noEntry`, `notPermitted` if another registered it.
    public func remove(_ name: StaticString, until deadline: UInt64? = nil) throws(ExocallError) {
      _ = try ask(.remove, name, [], deadline)
    }

    private func ask(
      _ request: NameService.Request, _ name: StaticString, _ rights: [Capability], _ deadline: UInt64?
    ) throws(ExocallError) -> PortFrame {
      let text = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
      do throws(PortError) {
        let answer = try service.call(id: request.rawValue, text, rights: rights, until: deadline)
        switch NameTable.Failure(rawValue: answer.id) {
        case nil: return answer
        case .unknown: throw .exocall(.noEntry)
        case .taken: throw .exocall(.exists)
        case .notOwner: throw .exocall(.notPermitted)
        case .malformed: throw .exocall(.invalid)
        case .full: throw .exocall(.noSpace)
        }
      } catch {
        switch error {
        case .exocall(let reason): throw reason
        case .timedOut, .wouldBlock: throw .timedOut
        default: throw .closedPipe
        }
      }
    }
  }
#endif
