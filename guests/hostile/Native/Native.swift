/// Attacks on what ring 0 relies on where the processor runs it: one for each rule of docs/native.md. Where ring 0 is interpreted
/// the same instructions are tried, as far as there is something behind them.
extension Attack {
  static var native: [Attack] {
    [modelRegisters, interruptController, oddEntries, nucleusFaults, lastPage, protectionRace]
  }
}
