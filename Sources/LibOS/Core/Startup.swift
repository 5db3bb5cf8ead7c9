#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime

  /// The page the exokernel passed at entry: where the rings are, the arguments, the limits.
  public enum Startup {
    nonisolated(unsafe) static var address: UInt = 0

    /// Valid from before `main` to the end.
    public static var page: UnsafePointer<exo_start> {
      UnsafePointer(bitPattern: address).unsafelyUnwrapped
    }

    /// What an environment does first that has its memory from another, by `fork`: it has rings, stacks and events of its own.
    /// Nothing but the image's data and the stack is written to.
    package static func beginForked(_ start: UnsafePointer<exo_start>) {
      address = UInt(bitPattern: start)
      exo_forget_maker()
      machineRing = RingClient(bell: MachineDoorbell())
      attachRing(start)
      Events.forget()
      ExceptionStacks.forget()
      Wakeup.forget()
      Gate.forget()
    }
  }

  @c(exo_guest_begin)
  func beginGuest(_ start: UnsafePointer<exo_start>) {
    // Another contract's rings cannot even be used to say so; the exokernel checks the image's note first.
    if start.pointee.abi_version != UInt32(EXO_ABI_VERSION) { exo_trap() }
    Startup.address = UInt(bitPattern: start)
    attachRing(start)
    Heap.chunks.attach(region: Heap.region, book: exo_heap_book())
    exo_process_begin()
  }

  /// For `main` of a program in C: the address of the argument strings' addresses.
  @c(exo_guest_arguments)
  func guestArguments(_ count: UnsafeMutablePointer<Int32>) -> UInt64 {
    count.pointee = Int32(Arguments.count)
    return Arguments.table.address
  }

  @c(exo_guest_end)
  func endGuest(_ status: Int32) -> Never { exit(status) }

  /// Ends this environment after writing out what was printed. The status's low eight bits are exorun's exit code; a
  /// success is a failure, 1, if something printed could not be written.
  public func exit(_ status: Int32) -> Never {
    Console.flush()
    exo_process_end()
    let status = status == 0 && Console.lost != nil ? 1 : status
    exo_return_to_maker(UInt32(bitPattern: status))
    Exocall.exit(status)
  }
#endif
