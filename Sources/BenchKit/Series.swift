/// Lines over a common axis: what a figure was drawn from.
public struct Series: Equatable, Sendable {
  /// What the axes count, with the unit.
  public let x: String
  public let y: String
  public var lines: [Line]

  public struct Line: Equatable, Sendable {
    public let name: String
    public let points: [Point]
    public init(name: String, points: [Point]) {
      self.name = name
      self.points = points
    }
  }
  public struct Point: Equatable, Sendable {
    public let x: Double
    public let y: Double
    public init(x: Double, y: Double) {
      self.x = x
      self.y = y
    }
  }

  public init(x: String, y: String, lines: [Line]) {
    self.x = x
    self.y = y
    self.lines = lines
  }
}
