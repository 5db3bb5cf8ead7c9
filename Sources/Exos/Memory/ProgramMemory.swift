#if hasFeature(Embedded)
  import LibOS

  /// This environment's virtual memory, with page faults led to it.
  public enum ProgramMemory {
    /// Addresses of regions that ask for none.
    public static var bounds: Range<UInt64> { 0x6100_0000_0000..<0x6800_0000_0000 }

    nonisolated(unsafe) private static var memory: VirtualMemory<MachinePages>?
    /// Asked about what virtual memory has no answer to; false lets the fault end the environment. It runs in the handler.
    nonisolated(unsafe) public static var onUnresolved:
      ((PageFault, FaultOutcome, inout ExceptionFrame) -> Bool)?

    /// Ready for regions.
    public static var shared: VirtualMemory<MachinePages> {
      guard let memory else { panic("virtual memory was not begun") }
      return memory
    }

    /// Begins: from now on page faults are virtual memory's.
    /// - Parameter frames: most frames it may use.
    /// - Throws: see `Exocall.exceptionBind`.
    public static func begin(frames: Int = .max) throws(ExocallError) {
      let memory = VirtualMemory(machine: MachinePages(limit: frames), bounds: bounds)
      self.memory = memory
      try PageFaults.bind { fault, frame in
        let outcome = fault.isKey ? .forbidden : memory.resolve(fault.address, isWrite: fault.isWrite)
        switch outcome {
        case .resolved, .trapped: return
        default: if !(onUnresolved?(fault, outcome, &frame) ?? false) { PageFaults.giveUp() }
        }
      }
    }
  }
#endif
