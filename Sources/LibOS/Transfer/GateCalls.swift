#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// A procedure that is called through a gate, by its types: what is asked and what is answered are sent in registers.
  ///
  ///     enum Add: GateCall {
  ///       typealias Request = (UInt64, UInt64)
  ///       typealias Answer = UInt64
  ///       static var number: UInt32 { 1 }
  ///     }
  ///     let sum = try connection.call(Add.self, (40, 2))
  public protocol GateCall {
    /// At most 48 bytes, as `GateCalls.most` says.
    associatedtype Request: BitwiseCopyable
    associatedtype Answer: BitwiseCopyable
    /// Which of a server's procedures it is.
    static var number: UInt32 { get }
  }

  public enum GateCalls {
    /// Most bytes of a request or an answer.
    public static var most: Int { 48 }

    @inline(__always)
    static func put<Value: BitwiseCopyable>(_ value: Value, _ message: inout Message) {
      precondition(MemoryLayout<Value>.size <= most)
      withUnsafeMutableBytes(of: &message.words) { $0.storeBytes(of: value, as: Value.self) }
    }
    /// Reads from the message itself. Of a copy made for reading, `withUnsafeBytes(of: message.words)`, the optimiser of Swift 6
    /// removes the stores and keeps the load: the answer is undefined, and the way that leads to it is removed with it.
    @inline(__always)
    static func take<Value: BitwiseCopyable>(_ message: inout Message) -> Value {
      precondition(MemoryLayout<Value>.size <= most)
      return withUnsafeMutableBytes(of: &message.words) { $0.loadUnaligned(as: Value.self) }
    }
  }

  extension Message {
    /// What asks for a procedure.
    @inline(__always)
    public init<Procedure: GateCall>(calling procedure: Procedure.Type, _ request: Procedure.Request) {
      self.init()
      status = Int64(Procedure.number)
      GateCalls.put(request, &self)
    }
    /// What a procedure answered.
    @inline(__always)
    public mutating func answer<Procedure: GateCall>(of procedure: Procedure.Type) -> Procedure.Answer {
      GateCalls.take(&self)
    }
  }

  extension Connection {
    /// Calls a procedure of the environment at the other end.
    /// - Throws: as `call(_:deadline:)`; `noSuchCall` if the server has no such procedure, and what it answers.
    @inline(__always)
    public func call<Procedure: GateCall>(
      _ procedure: Procedure.Type, _ request: Procedure.Request, deadline: UInt64? = nil
    ) throws(ExocallError) -> Procedure.Answer {
      var message = Message(calling: procedure, request)
      try call(&message, deadline: deadline)
      return message.answer(of: procedure)
    }

    /// The same to a server that is trusted with this environment's registers.
    @inline(__always)
    public func callTrusting<Procedure: GateCall>(
      _ procedure: Procedure.Type, _ request: Procedure.Request
    ) throws(ExocallError) -> Procedure.Answer {
      var message = Message(calling: procedure, request)
      try callTrusting(&message)
      return message.answer(of: procedure)
    }
  }

  /// The procedures of a server, each with its types.
  public final class GateServer {
    private var procedures: [(number: Int64, body: (inout Message) -> ExocallError?)] = []

    public init() {}

    /// Adds a procedure. What it throws is the answer.
    public func on<Procedure: GateCall>(
      _ procedure: Procedure.Type,
      _ body: @escaping (Procedure.Request) throws(ExocallError) -> Procedure.Answer
    ) {
      procedures.append(
        (
          Int64(Procedure.number),
          { message in
            do throws(ExocallError) {
              let answer = try body(GateCalls.take(&message))
              message.words = (0, 0, 0, 0, 0, 0)
              GateCalls.put(answer, &message)
              return nil
            } catch { return error }
          }
        ))
    }

    /// Answers calls until `attend` says that it is enough (see `Gate.serve`).
    public func serve(attend: @escaping (Event) -> Bool = { _ in true }) {
      Gate.serve(attend: attend) { [self] message in answer(&message, asked: Gate.asked) }
    }

    /// Answers one call.
    /// - Parameters:
    ///   - message: what is asked, and then the answer.
    ///   - number: which procedure is asked for.
    public func answer(_ message: inout Message, asked number: Int64) {
      message.status = 0
      guard let procedure = procedures.first(where: { $0.number == number }) else {
        message.status = -Int64(EXO_ENOSYS)
        return
      }
      if let error = procedure.body(&message) { message.status = -Int64(error.number) }
    }
  }
#endif
