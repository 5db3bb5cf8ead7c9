import ExoABI
import Testing

/// What an environment's own code, compiled long ago, relies on: a change here is a change of the ABI's version.
@Suite struct LayoutTests {
  @Test func versionOne() {
    #expect(EXO_ABI_VERSION == 1)
    #expect(EXO_PAGE_SIZE == 4096 && 1 << EXO_PAGE_SHIFT == EXO_PAGE_SIZE)
  }

  @Test func submission() {
    typealias Entry = exo_submission
    #expect(MemoryLayout<Entry>.size == 64 && MemoryLayout<Entry>.stride == 64)
    #expect(MemoryLayout<Entry>.offset(of: \.tag) == 0)
    #expect(MemoryLayout<Entry>.offset(of: \.arguments) == 8)
    #expect(MemoryLayout<Entry>.offset(of: \.call) == 48)
    #expect(MemoryLayout<Entry>.offset(of: \.reserved) == 52)
    #expect(MemoryLayout<Entry>.offset(of: \.consumed) == 56)
    #expect(MemoryLayout<Entry>.offset(of: \.sequence) == 60)
  }

  @Test func completion() {
    typealias Entry = exo_completion
    #expect(MemoryLayout<Entry>.size == 64 && MemoryLayout<Entry>.stride == 64)
    #expect(MemoryLayout<Entry>.offset(of: \.tag) == 0)
    #expect(MemoryLayout<Entry>.offset(of: \.result) == 8)
    #expect(MemoryLayout<Entry>.offset(of: \.values) == 16)
    #expect(MemoryLayout<Entry>.offset(of: \.reserved) == 56)
    #expect(MemoryLayout<Entry>.offset(of: \.sequence) == 60)
    #expect(Int(EXO_RING_CAPACITY) * 64 == Int(EXO_PAGE_SIZE))
    // Ring numbers wrap at 2^32, slots at the capacity: only a power of two keeps them in step.
    #expect(EXO_RING_CAPACITY & (EXO_RING_CAPACITY - 1) == 0)
  }

  @Test func startPage() {
    typealias Page = exo_start
    #expect(MemoryLayout<Page>.size == 160)
    let offsets: [(Int?, Int)] = [
      (MemoryLayout<Page>.offset(of: \.abi_version), 0), (MemoryLayout<Page>.offset(of: \.environment), 4),
      (MemoryLayout<Page>.offset(of: \.submission_ring), 8),
      (MemoryLayout<Page>.offset(of: \.completion_ring), 16),
      (MemoryLayout<Page>.offset(of: \.doorbell), 24), (MemoryLayout<Page>.offset(of: \.status), 32),
      (MemoryLayout<Page>.offset(of: \.machine), 40), (MemoryLayout<Page>.offset(of: \.stack_low), 48),
      (MemoryLayout<Page>.offset(of: \.stack_top), 56), (MemoryLayout<Page>.offset(of: \.argument_count), 64),
      (MemoryLayout<Page>.offset(of: \.arguments), 72),
      (MemoryLayout<Page>.offset(of: \.environment_count), 80),
      (MemoryLayout<Page>.offset(of: \.environment_variables), 88),
      (MemoryLayout<Page>.offset(of: \.features), 96), (MemoryLayout<Page>.offset(of: \.frame_limit), 104),
      (MemoryLayout<Page>.offset(of: \.image_end), 112),
      (MemoryLayout<Page>.offset(of: \.frame_list), 120), (MemoryLayout<Page>.offset(of: \.tables), 128),
      (MemoryLayout<Page>.offset(of: \.events), 136), (MemoryLayout<Page>.offset(of: \.control), 144),
      (MemoryLayout<Page>.offset(of: \.ring_served), 152),
    ]
    for (found, expected) in offsets { #expect(found == expected) }
    #expect(MemoryLayout<Page>.size <= Int(EXO_STATUS_OFFSET))
  }

  @Test func statusLine() {
    #expect(EXO_STATUS_OFFSET % 64 == 0)
    #expect(MemoryLayout<exo_status>.size == 16)
    #expect(MemoryLayout<exo_status>.offset(of: \.service) == 0)
    #expect(MemoryLayout<exo_status>.offset(of: \.others_wait) == 4)
    #expect(MemoryLayout<exo_status>.offset(of: \.frames_held) == 8)
  }

  @Test func frameList() {
    #expect(MemoryLayout<exo_frame_run>.size == 8)
    #expect(MemoryLayout<exo_frame_run>.offset(of: \.first) == 0)
    #expect(MemoryLayout<exo_frame_run>.offset(of: \.count) == 4)
    #expect(MemoryLayout<exo_frame_list>.size == Int(EXO_PAGE_SIZE))
    #expect(MemoryLayout<exo_frame_list>.offset(of: \.runs) == 0)
    #expect(MemoryLayout<exo_frame_list>.offset(of: \.truncated) == 4)
    #expect(MemoryLayout<exo_frame_list>.offset(of: \.run) == 8)
  }

  @Test func eventRing() {
    typealias Entry = exo_event
    #expect(MemoryLayout<Entry>.size == 32)
    #expect(MemoryLayout<Entry>.offset(of: \.kind) == 0)
    #expect(MemoryLayout<Entry>.offset(of: \.data) == 4)
    #expect(MemoryLayout<Entry>.offset(of: \.value) == 8)
    #expect(MemoryLayout<Entry>.offset(of: \.time) == 16)
    #expect(MemoryLayout<Entry>.offset(of: \.sequence) == 28)
    #expect(MemoryLayout<exo_events>.size == Int(EXO_PAGE_SIZE))
    #expect(MemoryLayout<exo_events>.offset(of: \.posted) == 0)
    #expect(MemoryLayout<exo_events>.offset(of: \.lost) == 4)
    #expect(MemoryLayout<exo_events>.offset(of: \.ring) == Int(EXO_EVENT_RING_OFFSET))
    #expect(Int(EXO_EVENT_RING_OFFSET) + Int(EXO_EVENT_CAPACITY) * 32 == Int(EXO_PAGE_SIZE))
    #expect(MemoryLayout<exo_control>.offset(of: \.mask) == 0)
    #expect(MemoryLayout<exo_control>.offset(of: \.events_consumed) == 4)
    // The environment's own words lie clear of what the nucleus's gates push.
    #expect(EXO_CONTROL_OFFSET + 8 <= EXO_TRAP_NUCLEUS_TOP - EXO_EXCEPTION_PUSH)
  }

  @Test func pageOperation() {
    typealias Entry = exo_page_operation
    #expect(MemoryLayout<Entry>.size == 32)
    #expect(MemoryLayout<Entry>.offset(of: \.address) == 0)
    #expect(MemoryLayout<Entry>.offset(of: \.pages) == 8)
    #expect(MemoryLayout<Entry>.offset(of: \.rights) == 12)
    #expect(MemoryLayout<Entry>.offset(of: \.capability) == 16)
    #expect(MemoryLayout<Entry>.offset(of: \.first) == 24)
    #expect(Int(EXO_VECTOR_LIMIT) * MemoryLayout<Entry>.stride <= Int(EXO_PAGE_SIZE))
  }

  /// The window on one's own page tables: each level's place follows from one link of the root to itself.
  @Test func tablesWindow() {
    let slot = UInt64(EXO_KIT_TABLES_SLOT)
    #expect(exo_kit_tables == slot << 39 && exo_kit_tables_end == (slot + 1) << 39)
    #expect(UInt64(EXO_KIT_TABLES_LEVEL1) == slot << 39 | slot << 30)
    #expect(UInt64(EXO_KIT_TABLES_LEVEL2) == slot << 39 | slot << 30 | slot << 21)
    #expect(UInt64(EXO_KIT_TABLES_LEVEL3) == slot << 39 | slot << 30 | slot << 21 | slot << 12)
    // In the user half, and apart from the kit and the first stack.
    #expect(slot < 256 && exo_kit_tables_end <= exo_stack_top - UInt64(EXO_STACK_PAGES) << 12)
  }

  @Test func machinePage() {
    typealias Page = exo_machine
    #expect(MemoryLayout<Page>.size == 48)
    #expect(MemoryLayout<Page>.offset(of: \.frames_total) == 0)
    #expect(MemoryLayout<Page>.offset(of: \.frames_free) == 8)
    #expect(MemoryLayout<Page>.offset(of: \.tsc_base) == 16)
    #expect(MemoryLayout<Page>.offset(of: \.clock_base) == 24)
    #expect(MemoryLayout<Page>.offset(of: \.clock_multiplier) == 32)
    #expect(MemoryLayout<Page>.offset(of: \.memory_base) == 40)
  }

  @Test func addresses() {
    #expect(exo_nucleus_base == 0xffff_ffff_8000_0000)
    #expect(exo_nucleus_text == exo_nucleus_base)
    #expect(exo_nucleus_data == exo_nucleus_base + 0x1000)
    #expect(exo_nucleus_idt == exo_nucleus_base + 0x2000)
    let kit: [UInt64] = [
      exo_kit_start, exo_kit_machine, exo_kit_submission, exo_kit_completion, exo_kit_trap, exo_kit_doorbell,
      exo_kit_frames, exo_kit_events,
    ]
    for (page, address) in kit.enumerated() { #expect(address == 0x7fff_ff00_0000 + UInt64(page) << 12) }
    #expect(exo_kit_arguments == 0x7fff_ff01_0000)
    #expect(exo_kit_arguments > exo_kit_events)
    #expect(exo_kit_arguments + UInt64(EXO_KIT_ARGUMENT_PAGES) << 12 <= exo_kit_end)
    #expect(exo_kit_end <= UInt64(EXO_USER_LIMIT))
    // The first stack ends a good way below the kit, so that running off its top meets nothing.
    #expect(exo_stack_top == exo_kit_start - 0x10_0000)
    #expect(exo_stack_top % 16 == 0)
  }

  @Test func selectors() {
    #expect(EXO_NUCLEUS_CS == 0x10 && EXO_NUCLEUS_SS == EXO_NUCLEUS_CS + 8)
    #expect(EXO_USER_SS == 0x2b && EXO_USER_CS == EXO_USER_SS + 8)
    // Ring in the two low bits, global table.
    for selector in [EXO_USER_SS, EXO_USER_CS, EXO_ABSENT_SELECTOR] { #expect(selector & 7 == 3) }
    for selector in [EXO_NUCLEUS_CS, EXO_NUCLEUS_SS, EXO_TSS_SELECTOR] { #expect(selector & 7 == 0) }
    // The task descriptor takes two places.
    #expect(EXO_ABSENT_SELECTOR & ~7 >= EXO_TSS_SELECTOR + 16)
    #expect(EXO_NUCLEUS_GDT_OFFSET + (EXO_ABSENT_SELECTOR | 7) < EXO_NUCLEUS_TSS_OFFSET)
    #expect(EXO_NUCLEUS_TSS_OFFSET + 0x68 <= EXO_NUCLEUS_RETURN_OFFSET)
  }

  @Test func stacks() {
    let slots = [
      EXO_IST_NUCLEUS, EXO_IST_DOUBLE_FAULT, EXO_IST_PAGE_FAULT, EXO_IST_FAULT, EXO_IST_DEBUG, EXO_IST_EVENT,
    ]
    #expect(Set(slots).count == slots.count)
    #expect(slots.allSatisfy { (1...7).contains($0) })
    // SS, RSP, RFLAGS, CS, RIP, error code and the address, and what aligning the stack may skip.
    #expect(EXO_EXCEPTION_PUSH >= 7 * 8 && EXO_EXCEPTION_PUSH % 16 == 0)
    for top in [EXO_TRAP_NUCLEUS_TOP, EXO_TRAP_DOUBLE_FAULT_TOP] {
      #expect(top % 16 == 0 && top <= EXO_PAGE_SIZE)
    }
    #expect(EXO_TRAP_DOUBLE_FAULT_TOP - EXO_TRAP_NUCLEUS_TOP >= EXO_EXCEPTION_PUSH)
  }

  @Test func entryBits() {
    let granted = [EXO_PTE_GRANTED_READ, EXO_PTE_GRANTED_WRITE, EXO_PTE_GRANTED_EXECUTE]
    #expect(granted.map { $0.trailingZeroBitCount } == [9, 10, 11])
    #expect(granted.allSatisfy { $0.nonzeroBitCount == 1 })
    // Bits the hardware and KVM leave to software.
    #expect(EXO_PTE_PINNED.nonzeroBitCount == 1 && (52...58).contains(EXO_PTE_PINNED.trailingZeroBitCount))
    // The grant is the rights' own bits moved up.
    for (right, bit) in zip([EXO_READ, EXO_WRITE, EXO_EXECUTE], granted) {
      #expect(UInt64(right) << 9 == UInt64(bit))
    }
  }

  @Test func doorbell() {
    let offsets = [EXO_DOORBELL_WAKE, EXO_DOORBELL_SERVE, EXO_DOORBELL_WAIT, EXO_DOORBELL_YIELD]
    #expect(offsets == [0, 8, 16, 24])
    #expect([EXO_SERVICE_POLLED, EXO_SERVICE_ASLEEP, EXO_SERVICE_EXIT] == [0, 1, 2])
  }

  @Test func namedNumbers() {
    #expect([EXO_READ, EXO_WRITE, EXO_EXECUTE] == [1, 2, 4])
    #expect(
      [
        EXO_RIGHT_GRANT, EXO_RIGHT_CONTROL, EXO_RIGHT_INSPECT, EXO_RIGHT_CALL, EXO_RIGHT_SIGNAL,
        EXO_RIGHT_DELIVER,
      ]
        == [8, 16, 32, 64, 128, 256])
    #expect(
      [EXO_STATE_CREATED, EXO_STATE_RUNNABLE, EXO_STATE_WAITING, EXO_STATE_STOPPED, EXO_STATE_ENDED]
        == [0, 1, 2, 3, 4])
    #expect(
      [
        EXO_ENDED_EXITED, EXO_ENDED_FAULTED, EXO_ENDED_MISUSED, EXO_ENDED_TIME_LIMIT, EXO_ENDED_KILLED,
        EXO_ENDED_HOST_FAILURE,
      ] == [0, 1, 2, 3, 4, 5])
    #expect(
      [
        EXO_EVENT_SLICE_END, EXO_EVENT_REVOCATION, EXO_EVENT_CHILD_ENDED, EXO_EVENT_MESSAGE, EXO_EVENT_TIMER,
        EXO_EVENT_GATE, EXO_EVENT_PACKETS, EXO_EVENT_KINDS,
      ] == [0, 1, 2, 3, 4, 5, 6, 7])
    #expect([EXO_VECTOR_MAP, EXO_VECTOR_UNMAP, EXO_VECTOR_PROTECT] == [0, 1, 2])
  }

  @Test func errorsAreLinuxs() {
    let numbers: [Int32] = [
      EXO_EPERM, EXO_ENOENT, EXO_EIO, EXO_EBADF, EXO_EAGAIN, EXO_ENOMEM, EXO_EFAULT, EXO_EBUSY, EXO_EEXIST,
      EXO_EINVAL, EXO_ENOSPC, EXO_EPIPE, EXO_ERANGE, EXO_ENOSYS, EXO_EOPNOTSUPP, EXO_ESTALE, EXO_EDQUOT,
    ]
    #expect(numbers == [1, 2, 5, 9, 11, 12, 14, 16, 17, 22, 28, 32, 34, 38, 95, 116, 122])
  }
}
