/// Says to which filter a packet belongs: all filters merged into one structure, compiled where the host allows it.
///
///     var classifier = PacketClassifier()
///     let web = try classifier.insert(.ethernet.ipv4.tcp(destinationPort: 80))
///     classifier.classify(packet.span) == web
///
/// Of the filters that match, the one that compares the most bits wins; among equals the one that was inserted first.
/// Whoever owns it sees to it that nobody classifies while it changes.
public struct PacketClassifier: ~Copyable {
  private var trie = FilterTrie()
  private var compiler: FilterCompiler?
  /// Of the compiler's code, for one packet and for many; 0 if there is none.
  @usableFromInline private(set) var address: UInt64
  @usableFromInline private(set) var batchAddress: UInt64
  /// By their numbers.
  private var filters = SplitDictionary<Filter>()
  private var lastNumber: UInt32 = 0

  /// Most filters at a time.
  public static let limit = 1 << 20

  /// - Parameter compiling: whether to make code for this processor; what the host refuses is interpreted all the same.
  public init(compiling: Bool = true) { self.init(compiling ? FilterCompiler() : nil) }
  init(_ compiler: FilterCompiler?) {
    self.compiler = compiler
    address = compiler?.address ?? 0
    batchAddress = compiler?.batchAddress ?? 0
  }

  /// Whether packets are classified by compiled code.
  public var isCompiled: Bool { compiler != nil }
  public var count: Int { filters.count }
  public func filter(_ id: FilterID) -> Filter? { filters[id.number] }

  /// Adds a filter. Equal and overlapping ones are allowed: who may claim what is for the caller to judge (`overlapping`).
  public mutating func insert(_ filter: Filter) throws(FilterError) -> FilterID {
    guard filters.count < Self.limit, lastNumber < .max - 1 else { throw .full(limit: Self.limit) }
    lastNumber += 1
    let id = FilterID(number: lastNumber)
    let change = try trie.insert(filter, id)
    filters[id.number] = filter
    follow(change, [])
    return id
  }

  /// Removes a filter; false if there is none of that name.
  @discardableResult
  public mutating func remove(_ id: FilterID) -> Bool {
    guard let filter = filters.removeValue(forKey: id.number), let (change, gone) = trie.remove(filter, id)
    else {
      return false
    }
    follow(change, gone)
    return true
  }

  private mutating func follow(_ change: FilterTrie.Change, _ gone: [Int]) {
    compiler?.apply(change, gone: gone, to: trie)
    if compiler?.hasFailed ?? false { compiler = nil }
    address = compiler?.address ?? 0
    batchAddress = compiler?.batchAddress ?? 0
  }

  /// The filter that a packet belongs to, from the first byte of its link-layer header; nil if none matches.
  @inlinable public func classify(_ packet: Span<UInt8>) -> FilterID? {
    FilterID(rank: address != 0 ? CompiledFilters.run(at: address, packet) : interpretedRank(packet))
  }

  /// The same for each packet of a batch, in less time. Returns how many belong to a filter.
  @discardableResult
  @inlinable public func classify(_ batch: borrowing PacketBatch, into matches: inout FilterMatches) -> Int {
    matches.prepare(batch.count)
    if batchAddress != 0 {
      return CompiledFilters.run(at: batchAddress, batch.bytes, batch.ranges, &matches.ranks)
    }
    var matched = 0
    for index in 0..<batch.count {
      matches.ranks[index] = interpretedRank(batch.packet(index).span)
      if matches.ranks[index] != 0 { matched += 1 }
    }
    return matched
  }

  /// The same by interpreting the structure: what the compiled code is checked against.
  public func interpret(_ packet: Span<UInt8>) -> FilterID? { FilterID(rank: trie.classify(packet)) }
  @usableFromInline func interpretedRank(_ packet: Span<UInt8>) -> UInt64 { trie.classify(packet) }

  /// The filters that some packet could match besides this one, in the order they were inserted.
  public func overlapping(_ filter: Filter) -> [FilterID] {
    var found: [FilterID] = []
    _ = trie.containsOverlapping(filter) {
      found.append($0)
      return false
    }
    return found.sorted()
  }
  /// Whether some packet could match both this one and one of those that are chosen. Takes time for those that overlap, not for all.
  func containsOverlapping(_ filter: Filter, where chosen: (FilterID) -> Bool) -> Bool {
    trie.containsOverlapping(filter, where: chosen)
  }
}

/// To which filters the packets of a batch belong.
public struct FilterMatches: Sendable {
  /// As many as the largest batch yet had packets.
  @usableFromInline var ranks: [UInt64] = []

  public init() {}
  /// The filter that packet `index` of the batch belongs to; nil if none matches.
  @inlinable public subscript(index: Int) -> FilterID? { FilterID(rank: ranks[index]) }

  @usableFromInline mutating func prepare(_ count: Int) {
    if ranks.count < count { ranks += [UInt64](repeating: 0, count: count - ranks.count) }
  }
}
