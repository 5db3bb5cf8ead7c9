/// How a heap stands.
public struct HeapStatistics: Equatable, Sendable {
  /// Allocations not freed yet.
  public var allocations = 0
  /// Their bytes, as rounded up for small ones.
  public var bytes = 0
  /// Pages held, and the most that ever were.
  public var pages = 0
  public var peakPages = 0
}
