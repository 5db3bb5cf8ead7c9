import ExoABI
import HostileSupport
import LibOS

/// What calls are told to read and write.
extension Attack {
  static var buffers: Attack {
    Attack("buffers", "Gives buffers that are not mapped, not writable, or not addresses.") {
      Pages(1).map(at: Place.scratch, Allow.read)
      Pages(1).map(at: Place.scratch + 0x10_0000)
      if exocall(EXO_CALL_map, Pages(1).capability, 0, Place.scratch + 0x20_0000, 1, 0) != 0 {
        unable("mapping")
      }
      let absent: [(address: UInt64, length: UInt64)] = [
        (0, 1), (0x128, 8), (Place.scratch + 4090, 8), (Place.scratch + 0x10_0ffc, 8),
        (Place.scratch + 0x20_0000, 1),
        (Place.scratch - 4, 8), (0x7fff_ffff_fff8, 16), (0x7fff_ffff_ffff, 1), (0x8000_0000_0000, 1),
        (0x8000_0000_0000 - 4096, 4096), (exo_nucleus_idt, 8), (exo_nucleus_text, 16), (.max, 1),
        (.max - 4094, 4096),
        (1 << 63, 8), (exo_kit_doorbell, 4), (exo_kit_doorbell + 4092, 8), (exo_kit_end, 8),
      ]
      for (address, length) in absent {
        expectRefused(
          exocall(EXO_CALL_console_write, address, length), EXO_EFAULT,
          for: "writing \(length) bytes at \(address)")
        expectRefused(
          exocall(EXO_CALL_console_read, address, length), EXO_EFAULT,
          for: "reading \(length) bytes to \(address)")
      }
      for address in [
        Place.scratch, hostile_text_start(), exo_kit_start, exo_kit_completion, exo_kit_machine,
        exo_kit_tables,
      ] {
        expectRefused(exocall(EXO_CALL_console_read, address, 8), EXO_EFAULT, for: "reading to \(address)")
      }
      for length in [UInt64(4097), 1 << 32, 1 << 63, .max] {
        expectRefused(
          exocall(EXO_CALL_console_write, Place.scratch, length), EXO_EINVAL, for: "writing \(length) bytes")
        expectRefused(
          exocall(EXO_CALL_console_read, Place.scratch + 0x10_0000, length), EXO_EINVAL,
          for: "reading \(length) bytes")
      }
    }
  }

  /// The buffer of a pending read goes away, and its frame to a child, before the input arrives: it must arrive nowhere.
  static var lateBuffer: Attack {
    Attack("late-buffer", "Unmaps and gives away the buffer of a read that is pending.") {
      let pages = Pages(1).map(at: Place.scratch)
      word(Place.scratch)[0] = 0
      let other = Pages(1).map(at: Place.scratch + 0x10_0000)
      guard let read = machineRing.submit(RingRequest(EXO_CALL_console_read.rawValue, Place.scratch, 64)),
        let second = machineRing.submit(
          RingRequest(EXO_CALL_console_read.rawValue, Place.scratch + 0x10_0000, 64)),
        let unmap = machineRing.submit(RingRequest(EXO_CALL_unmap.rawValue, Place.scratch, 1)),
        let free = machineRing.submit(RingRequest(EXO_CALL_frame_free.rawValue, pages.capability)),
        let again = machineRing.submit(RingRequest(EXO_CALL_frame_allocate.rawValue, pages.frame, 1))
      else { unable("the ring is full") }
      machineRing.notify()
      guard let first = machineRing.wait(read), let refused = machineRing.wait(second),
        machineRing.wait(unmap)?.result == 0, machineRing.wait(free)?.result == 0,
        let mine = machineRing.wait(again),
        mine.result > 0
      else { unable("an answer is lost") }
      // The input may have been there already.
      expect(first.result == -Int64(EXO_EFAULT) || first.result >= 0, "the read: \(first.result)")
      expect(refused.result == -Int64(EXO_EBUSY) || refused.result >= 0, "a second read: \(refused.result)")
      if exocall(EXO_CALL_map, UInt64(mine.result), 0, Place.scratch, 1, Allow.read) != 0 {
        unable("mapping")
      }
      for index in 0..<512 where word(Place.scratch)[index] != 0 {
        succeeded("input reached the frame's next owner")
      }
      exocall(EXO_CALL_frame_free, other.capability)
    }
  }

  /// Sleeps for an answer to a question it never asked. Nobody owes it one; the time limit ends it.
  static var waitForEver: Attack {
    Attack("wait-for-ever", "Waits for a completion that never comes: the time limit ends it.") {
      while true { hostile_doorbell(UInt32(EXO_DOORBELL_WAIT), 0x4000_0000) }
    }
  }

  /// Ends while a read is pending, a child runs that it waits for, and a ring full of calls comes after.
  static var exitPending: Attack {
    Attack("exit-pending", "Exits in mid-call: a read pending, a child running, the ring full.") {
      Pages(1).map(at: Place.scratch)
      var child = Child()
      child.start(HOSTILE_SPIN)
      _ = machineRing.submit(RingRequest(EXO_CALL_console_read.rawValue, Place.scratch, 64))
      for _ in 0..<20 { _ = machineRing.submit(RingRequest(EXO_CALL_frame_allocate.rawValue, .max, 16)) }
      _ = machineRing.submit(RingRequest(EXO_CALL_exit.rawValue, 0))
      for _ in 0..<30 { _ = machineRing.submit(RingRequest(EXO_CALL_exit.rawValue, 1)) }
      machineRing.notify()
      while true { hostile_doorbell(UInt32(EXO_DOORBELL_WAIT), 0x4000_0000) }
    }
  }

  /// The first reason counts: an exit, then misuse, a fault and another exit.
  static var exitTwice: Attack {
    Attack("exit-twice", "Exits with 0, then again with 1, then breaks the ring and faults.") {
      _ = machineRing.submit(RingRequest(EXO_CALL_exit.rawValue, 0x100))
      _ = machineRing.submit(RingRequest(EXO_CALL_exit.rawValue, 1))
      machineRing.notify()
      let slots = UnsafeMutableRawPointer(word(exo_kit_submission))
      for slot in 0..<Int(EXO_RING_CAPACITY) {
        // Not over what was just submitted.
        let call = slots.load(fromByteOffset: slot * 64 + 48, as: UInt32.self)
        if call == EXO_CALL_exit.rawValue { continue }
        slots.storeBytes(of: 0x1234_5678, toByteOffset: slot * 64 + 60, as: UInt32.self)
      }
      // Served by now or never, where the service is asleep; by then it has ended.
      hostile_doorbell(UInt32(EXO_DOORBELL_SERVE), 1)
      hostile_store(exo_nucleus_idt)
    }
  }
}
