import CKVM
import ExoABI

/// Telling a running, sleeping or waiting environment that something happened.
extension Environment {
  /// Posts an event. A sleeping environment wakes; one that runs, and bound a handler for the kind, is taken out of guest
  /// mode and enters it unless its soft mask is set.
  func post(_ event: Event) {
    let posted = events.withLock { $0.post(event, at: ckvm_monotonic(), in: machine.memory) }
    if posted == .closed { return }
    if posted == .posted, trace.wants(.event) {
      trace.record(.posted(kind: event.kind.rawValue, data: event.data, value: event.value), of: id)
    }
    // One that is lost wakes as well: the sleeper may have let events pile up, and this one be what it waits for.
    eventsPosted.add(1, ordering: .sequentiallyConsistent)
    let isBound = eventBinding.withLock { $0?.kinds.contains(event.kind) ?? false }
    if isBound { deliveryDue.store(true, ordering: .sequentiallyConsistent) }
    if isWaiting.load(ordering: .sequentiallyConsistent) {
      processor.wake(self)
    } else if isBound {
      latch.kick()
    }
  }

  /// Called by the processor's thread with the vCPU out of guest mode: makes it enter the event handler next, if one is
  /// due and allowed. A vCPU that is in the nucleus is left there; true asks for another try soon.
  func deliverEvents(_ vcpu: borrowing VCPU) -> Bool {
    guard deliveryDue.load(ordering: .sequentiallyConsistent) else { return false }
    guard let binding = eventBinding.withLock({ $0 }) else {
      deliveryDue.store(false, ordering: .sequentiallyConsistent)
      return false
    }
    let due = events.withLock { queue in
      queue.hasPending(in: machine.memory) && !queue.isMasked(in: machine.memory)
    }
    guard due else {
      // Masked or taken already: the environment looks at its ring when it clears the mask.
      deliveryDue.store(false, ordering: .sequentiallyConsistent)
      return false
    }
    guard let frame = vcpu.interruptedFrame else { return true }
    let delivered = machine.withKernel { kernel in
      var bytes: [UInt8] = []
      for word in frame {
        for shift in stride(from: UInt64(0), to: 64, by: 8) {
          bytes.append(UInt8(truncatingIfNeeded: word >> shift))
        }
      }
      // Pinned while bound, so this fails only if it is being unbound at this moment.
      return kernel.domains[id]?.eventBinding == binding
        && kernel.domains[id]?.shell.space.copyOut(
          bytes[...], to: GuestAddress(binding.stackTop.value - 40), memory: kernel.memory) ?? false
    }
    deliveryDue.store(false, ordering: .sequentiallyConsistent)
    guard delivered else { return false }
    events.withLock { $0.mask(in: machine.memory) }
    vcpu.divert(to: binding.handler, stack: GuestAddress(binding.stackTop.value - 40))
    return false
  }

  /// Has the processor's thread look whether there are events to deliver: the environment has cleared its mask.
  func lookForEvents() {
    if eventBinding.withLock({ $0 != nil }) { deliveryDue.store(true, ordering: .sequentiallyConsistent) }
  }

  /// Whether it has a handler for events of a kind, and may be entered there now.
  func isTold(of kind: Event.Kind) -> Bool {
    guard eventBinding.withLock({ $0?.kinds.contains(kind) ?? false }) else { return false }
    return events.withLock { !$0.isMasked(in: machine.memory) }
  }

  /// Whether events came after the count was taken.
  func hasNewEvents(since count: UInt64) -> Bool {
    eventsPosted.load(ordering: .sequentiallyConsistent) != count
  }

  /// Sets or clears the one timer; the event comes at the first look after the time.
  func setTimer(_ time: UInt64) {
    timer.store(time == 0 ? .max : time, ordering: .sequentiallyConsistent)
    machine.service.lookAtClocks()
  }

  /// Posts the timer's event if its time has come.
  func fireTimer(at now: UInt64) {
    let due = timer.load(ordering: .relaxed)
    guard due <= now,
      timer.compareExchange(expected: due, desired: .max, ordering: .sequentiallyConsistent).exchanged
    else { return }
    post(Event(kind: .timer, value: due))
  }
}
