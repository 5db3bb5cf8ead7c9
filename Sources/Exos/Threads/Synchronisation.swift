#if hasFeature(Embedded)
  /// A lock that has an owner. Handed over in the order of asking.
  public final class Mutex: Lock {
    private let waiting = ThreadQueue()

    public override init() {}

    /// Waits until nobody has it.
    /// - Throws: `deadlock` if whoever has it waits, by however many steps, for this thread; `notOwner` if this thread has it.
    public func lock() throws(ThreadError) {
      try Threads.exclusively { () throws(ThreadError) in try lockExclusively() }
    }

    fileprivate func lockExclusively() throws(ThreadError) {
      let current = Threads.current
      guard let owner else {
        owner = current
        return
      }
      if owner === current { throw .notOwner }
      if WaitGraph.closesCircle(current, waitingFor: self) { throw .deadlock }
      waiting.append(current)
      current.waitsFor = self
      defer { current.waitsFor = nil }
      do throws(ThreadError) { try Threads.block() } catch {
        waiting.remove(current)
        throw error
      }
    }

    /// Takes it if nobody has it.
    public func tryLock() -> Bool {
      Threads.exclusively {
        guard owner == nil else { return false }
        owner = Threads.current
        return true
      }
    }

    /// - Throws: `notOwner`.
    public func unlock() throws(ThreadError) {
      try Threads.exclusively { () throws(ThreadError) in try unlockExclusively() }
    }

    fileprivate func unlockExclusively() throws(ThreadError) {
      guard owner === Threads.current else { throw .notOwner }
      pass(to: waiting.popFirst())
      if let owner { Threads.wake(owner) }
    }

    /// Runs `body` with the lock.
    public func withLock<R>(_ body: () -> R) throws(ThreadError) -> R {
      try lock()
      let result = body()
      try unlock()
      return result
    }
  }

  /// Something to wait for while a lock is let go (Mesa's kind: look again after waiting).
  public final class Condition {
    private let waiting = ThreadQueue()

    public init() {}

    /// Lets go of the lock, waits for a signal, and has the lock again.
    /// - Throws: `notOwner`; `deadlock` if nobody is left to signal, with the lock taken all the same.
    public func wait(_ mutex: Mutex) throws(ThreadError) {
      try Threads.exclusively { () throws(ThreadError) in
        try mutex.unlockExclusively()
        let current = Threads.current
        waiting.append(current)
        do throws(ThreadError) { try Threads.block() } catch {
          waiting.remove(current)
          try mutex.lockExclusively()
          throw error
        }
        try mutex.lockExclusively()
      }
    }

    /// Wakes the one that has waited longest.
    public func signal() {
      Threads.exclusively { if let thread = waiting.popFirst() { Threads.wake(thread) } }
    }
    public func broadcast() {
      Threads.exclusively { while let thread = waiting.popFirst() { Threads.wake(thread) } }
    }
  }

  /// Values from any number of threads to any number, in order.
  public final class Channel<Value> {
    private var values: [Value] = []
    private let capacity: Int
    private let senders = ThreadQueue()
    private let receivers = ThreadQueue()
    private var isClosed = false

    /// - Parameter capacity: how many values may be in it; at least one.
    public init(capacity: Int = 1) { self.capacity = max(1, capacity) }

    /// Waits for room.
    /// - Throws: `closed`, `deadlock`.
    public func send(_ value: Value) throws(ThreadError) {
      try Threads.exclusively { () throws(ThreadError) in
        while !isClosed, values.count >= capacity { try wait(senders) }
        if isClosed { throw .closed }
        values.append(value)
        if let receiver = receivers.popFirst() { Threads.wake(receiver) }
      }
    }

    /// Waits for a value.
    /// - Throws: `closed` once it is closed and empty, `deadlock`.
    public func receive() throws(ThreadError) -> Value {
      try Threads.exclusively { () throws(ThreadError) in
        while values.isEmpty {
          if isClosed { throw .closed }
          try wait(receivers)
        }
        let value = values.removeFirst()
        if let sender = senders.popFirst() { Threads.wake(sender) }
        return value
      }
    }

    /// No more values come; those in it are still received.
    public func close() {
      Threads.exclusively {
        isClosed = true
        while let thread = senders.popFirst() { Threads.wake(thread) }
        while let thread = receivers.popFirst() { Threads.wake(thread) }
      }
    }

    private func wait(_ queue: ThreadQueue) throws(ThreadError) {
      let current = Threads.current
      queue.append(current)
      do throws(ThreadError) { try Threads.block() } catch {
        queue.remove(current)
        throw error
      }
    }
  }

  /// A value that each thread has for itself.
  public final class ThreadLocal<Value> {
    private var values: [(thread: Int, value: Value)] = []
    private let initial: Value

    public init(_ initial: Value) { self.initial = initial }

    /// The calling thread's.
    public var value: Value {
      get {
        Threads.exclusively { values.first { $0.thread == Threads.current.number }?.value ?? initial }
      }
      set {
        Threads.exclusively {
          let number = Threads.current.number
          if let index = values.firstIndex(where: { $0.thread == number }) {
            values[index].value = newValue
          } else {
            values.append((number, newValue))
          }
        }
      }
    }

    /// Forgets the calling thread's: numbers are not used again, so what is left behind only takes up memory.
    public func clear() {
      Threads.exclusively {
        let number = Threads.current.number
        values.removeAll { $0.thread == number }
      }
    }
  }
#endif
