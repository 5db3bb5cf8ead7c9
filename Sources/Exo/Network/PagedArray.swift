/// An array that never takes long to grow: its elements stay where they are.
struct PagedArray<Element> {
  private var pages: [[Element]] = []
  private(set) var count = 0
  private static var pageSize: Int { 512 }

  subscript(index: Int) -> Element {
    get { pages[index / Self.pageSize][index % Self.pageSize] }
    _modify { yield &pages[index / Self.pageSize][index % Self.pageSize] }
  }
  mutating func append(_ element: Element) {
    if count % Self.pageSize == 0 { pages.append([]) }
    pages[pages.count - 1].append(element)
    count += 1
  }
}
extension PagedArray: Sendable where Element: Sendable {}
