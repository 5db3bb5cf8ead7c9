import ExosIPC
import LibOS

/// Peers that lie to one another over what they share: the LibOS's pipes, ports and calls hold against them with an error.
extension Attack {
  static var peers: [Attack] {
    [pipeLies, changingMessages, forgedRights, forgedNames, closedEnds, silentCallee]
  }
}

func failure(_ body: () throws(PipeError) -> Void) -> PipeError? {
  do throws(PipeError) {
    try body()
    return nil
  } catch { return error }
}
