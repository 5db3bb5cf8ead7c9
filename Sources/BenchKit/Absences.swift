extension BenchRow {
  /// Why a contestant has no such row, where that is for good or for now known; nil if nobody said.
  public func absence(of name: ContestantName) -> String? {
    switch name {
    case .exo: nil
    case .linux: absentLinux[work]
    case .floor: absentFloor[work]
    }
  }
}

private let noMachine = "no virtual machine takes part, so there is no mechanism under it"
private let asLinux = "what runs at ring 3 are the instructions of the others"
private let library = "what there is to it is the library's own"
private let policy = "how time is divided is a policy, not a mechanism"

private let absentLinux: [String: String] = {
  let express = "Linux's way to answer in the kernel (XDP) needs a compiler and a loader of its own"
  let silent = "Linux takes memory back without asking, so there is nothing to time"
  return [
    "revoke_1": silent, "revoke_1000": silent,
    "filter_insert_longest": "a program of Linux's is by itself: none takes longer for those that are there",
    "udp_rtt_ash": express, "udp_rtt_ash_beside_9": express,
  ]
}()

private let absentFloor: [String: String] = {
  var reasons = [
    "libos_call": "one load, less than a turn of the loop around it",
    "matmul150_int": asLinux, "matmul150_double": asLinux, "matmul1024_double": asLinux,
    "udp_rtt": library, "udp_rtt_ash": library, "udp_rtt_beside_9": library, "udp_rtt_ash_beside_9": library,
    "launch_hello": "what a machine takes is in machine_start; the rest is a process's",
    "parked_memory": "without a virtual processor there is no mechanism: what is kept is Exo's own",
    "slice_error": policy, "stride_error": policy, "thread_switch": library,
    "revoke_1": "asking is a protocol, not a mechanism",
    "revoke_1000": "asking is a protocol, not a mechanism",
    "global_throughput": policy, "global_latency": policy, "global_unfairness": policy,
    "filter_insert": noMachine, "pathfinder_10": noMachine, "pathfinder_10000": noMachine,
    "filter_insert_longest": noMachine,
  ]
  for count in [1, 10, 100, 1000, 10_000] { reasons["demux_\(count)"] = noMachine }
  return reasons
}()
