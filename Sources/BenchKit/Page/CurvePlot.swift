/// Lines over two axes.
struct CurvePlot {
  struct Curve {
    let name: String
    /// Its colour's class.
    let style: String
    let points: [Series.Point]
  }
  let title: String
  let xName: String
  let yName: String
  /// Both axes; else both are linear.
  let isLogarithmic: Bool
  /// How a value of the y axis is written.
  let text: (Double) -> String
  let curves: [Curve]

  private static let width = 560.0
  private static let height = 300.0

  func svg() -> String {
    let points = curves.flatMap(\.points)
    let (left, right, top, bottom) = (70.0, Self.width - 130, 26.0, Self.height - 40)
    let x =
      isLogarithmic
      ? Axis.logarithmic(points.map(\.x), from: left, to: right)
      : Axis.linear(points.map(\.x), from: left, to: right)
    let y =
      isLogarithmic
      ? Axis.logarithmic(points.map(\.y), from: bottom, to: top)
      : Axis.linear(points.map(\.y), from: bottom, to: top)
    var body = svgText(yName, x: 8, y: 14, style: "tick")
    body += svgText(xName, x: (left + right) / 2, y: Self.height - 6, .middle, style: "tick")
    for mark in x.marks({ markText($0) }) {
      let at = x.position(mark.value)
      body += svgLine(at, top, at, bottom, style: "grid")
      body += svgText(mark.label, x: at, y: bottom + 15, .middle, style: "tick")
    }
    for mark in y.marks(text) {
      let at = y.position(mark.value)
      body += svgLine(left, at, right, at, style: "grid")
      body += svgText(mark.label, x: left - 6, y: at + 4, .end, style: "tick")
    }
    var labels: [Double] = []
    for curve in curves {
      let path = curve.points.map { "\(place(x.position($0.x))),\(place(y.position($0.y)))" }
      body += "<polyline points=\"\(path.joined(separator: " "))\" class=\"\(curve.style)\"/>\n"
      if curve.points.count <= 12 {
        for point in curve.points {
          body +=
            "<circle cx=\"\(place(x.position(point.x)))\" cy=\"\(place(y.position(point.y)))\" r=\"3\" "
            + "class=\"\(curve.style) mark\"/>\n"
        }
      }
      guard let last = curve.points.last else { continue }
      // Names do not lie on one another.
      var at = y.position(last.y) + 4
      while let other = labels.first(where: { abs($0 - at) < 12 }) { at = other + 12.5 }
      labels.append(at)
      body += svgText(curve.name, x: right + 6, y: at, style: "value \(curve.style)-name")
    }
    return drawing(width: Self.width, height: max(Self.height, (labels.max() ?? 0) + 8), label: title, body)
  }
}
