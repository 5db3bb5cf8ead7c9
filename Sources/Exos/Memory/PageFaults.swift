#if hasFeature(Embedded)
  import ExoABI
  import GuestRuntime
  import LibOS

  /// A page fault, by whichever gate it came.
  public struct PageFault {
    /// What was touched. Where a mask picks bytes, the first of the operand in the page.
    public let address: UInt64
    public let isWrite: Bool
    /// The instruction itself could not be fetched.
    public let isFetch: Bool
    /// The page allows it, but a protection key forbids it.
    public let isKey: Bool
  }

  /// Page faults by the direct gate, without a step through ring 0: the address is worked out from the instruction. Where
  /// that cannot be done, the next try comes by the gate that delivers CR2.
  public enum PageFaults {
    /// Runs on the stack of page faults, which no second fault may enter. The access is tried again when it returns.
    public typealias Handler = (PageFault, inout ExceptionFrame) -> Void

    nonisolated(unsafe) private static var handler: Handler?
    /// Whether the gate is the direct one at the moment.
    nonisolated(unsafe) private static var isDirect = false
    /// Faults whose address was worked out, and those where CR2 had to be asked for.
    nonisolated(unsafe) public private(set) static var statistics = (decoded: 0, asked: 0)

    /// Has page faults handled.
    /// - Throws: see `Exocall.exceptionBind`.
    public static func bind(_ handler: @escaping Handler) throws(ExocallError) {
      let before = self.handler
      self.handler = handler
      do throws(ExocallError) { try setGate(direct: true) } catch {
        self.handler = before
        throw error
      }
    }

    /// Leaves page faults to the exokernel again.
    public static func unbind() throws(ExocallError) {
      try Exceptions.unbind(.pageFault)
      handler = nil
    }

    /// Within a handler: nothing can be done, so let the access end the environment, with a report of where and why.
    public static func giveUp() {
      do throws(ExocallError) { try unbind() } catch { panic("a page fault that nobody can handle") }
    }

    private static func setGate(direct: Bool) throws(ExocallError) {
      try Exceptions.bind(.pageFault, withAddress: !direct, enter)
      isDirect = direct
    }

    private static func enter(_ frame: inout ExceptionFrame) {
      let code = frame.error_code
      let isWrite = code & 2 != 0
      let wasDirect = isDirect
      guard
        let address = wasDirect ? workOut(frame, isWrite: isWrite, isFetch: code & 16 != 0) : frame.address
      else {
        statistics.asked += 1
        regate(direct: false)
        return
      }
      if wasDirect { statistics.decoded += 1 }
      handler?(
        PageFault(
          address: address, isWrite: isWrite, isFetch: code & 16 != 0,
          isKey: code & UInt64(EXO_FAULT_KEY) != 0),
        &frame)
      if !wasDirect, handler != nil { regate(direct: true) }
    }

    private static func regate(direct: Bool) {
      do throws(ExocallError) { try setGate(direct: direct) } catch { panic("page faults lost their gate") }
    }

    /// The address that faulted, if the instruction tells.
    public static func workOut(_ frame: ExceptionFrame, isWrite: Bool, isFetch: Bool) -> UInt64? {
      let next = (frame.rip & ~4095) + 4096
      if isFetch {
        return PageTables.entry(of: frame.rip)?.rights.contains(.execute) ?? false ? next : frame.rip
      }
      let left = Int(next - frame.rip)
      let count = left >= InstructionBytes.limit || PageTables.entry(of: next)?.isPresent ?? false ? 15 : left
      let start = UnsafeRawPointer(bitPattern: UInt(frame.rip)).unsafelyUnwrapped
      let needed: Rights = isWrite ? .write : .read
      return withUnsafePointer(to: frame.xmm_registers) { vectors in
        vectors.withMemoryRebound(to: UInt64.self, capacity: 32) { vectors in
          guard
            case .accesses(let accesses) = InstructionDecoder.decode(
              start, count: count, registers(of: frame, vectors))
          else { return nil }
          return accesses.faulting(isWrite: isWrite) {
            guard let entry = PageTables.entry(of: $0), entry.rights.contains(needed) else { return false }
            return !ProtectionKeys.forbid(entry.key, needed)
          }
        }
      }
    }

    private static func registers(
      of frame: ExceptionFrame, _ vectors: UnsafePointer<UInt64>
    ) -> MachineRegisters {
      let general: InlineArray<16, UInt64> = [
        frame.rax, frame.rcx, frame.rdx, frame.rbx, frame.rsp, frame.rbp, frame.rsi, frame.rdi, frame.r8,
        frame.r9,
        frame.r10, frame.r11, frame.r12, frame.r13, frame.r14, frame.r15,
      ]
      // Where these cannot be read at ring 3 they cannot have been set either.
      let hasBases = Startup.page.pointee.features & UInt64(EXO_FEATURE_FSGSBASE) != 0
      return MachineRegisters(
        general: general, rip: frame.rip, fsBase: hasBases ? exo_fs_base() : 0,
        gsBase: hasBases ? exo_gs_base() : 0, vectors: vectors)
    }
  }
#endif
