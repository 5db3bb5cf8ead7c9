/// The trie as x86-64 code, kept up with it change by change.
///
/// Code comes in blocks: one for the root, a second one of the same that loops over many packets, and one for each node that a
/// table leads to. A block holds everything below its node up to the next tables: comparisons, moves, and, where a node has
/// several branches, a call for each but the last. A branch of more than two values is a table (`FilterTable`), so that one value
/// more is no new code. A block that changes is written anew at the end of the arena and whoever leads to it is told; when the
/// arena is full everything is written into a new one.
///
/// Comparisons that come one after another, with nothing else to be tried and no filter that ends in between, are made together:
/// the packet's length is compared once, and up to 16 bytes at a time. An IPv4 header is first taken for one without options, with
/// constant offsets behind it; the way for any length follows.
final class FilterCompiler {
  /// A branch whose values are in a table, and what is known where it leads.
  private struct Tabled {
    let table: FilterTable
    let state: State
  }
  /// What is known at a place in the code.
  private struct State {
    var base = X86Assembler.Base.constant(0)
    /// The packet is known to have so many bytes from where offsets count.
    var known = 0
    /// rax has a rank, or 0. Else it has nothing, and no filter was found.
    var hasRank = false
    var exit = Exit.returning
  }
  /// How a way through the code ends.
  private enum Exit {
    case returning
    /// With the next packet, which begins there, or where there is none.
    case batch(next: X86Assembler.Label, last: X86Assembler.Label)
  }
  private var arena: CodeArena
  private var tables: [Int: Tabled] = [:]
  private var entry: UInt32 = 0
  private var batchEntry: UInt32 = 0
  /// Against values that were chosen to share places in a table.
  private let multiplier = UInt32.random(in: 1 << 30...UInt32.max) | 1
  /// Set when there is no more room, or no more sense: then the trie is interpreted.
  private(set) var hasFailed = false
  private let sizeLimit: Int
  private var needsRoom = false

  /// Branches of more values than this are tables.
  private static let inlineLimit = 2

  /// Nil where code cannot be made.
  /// - Parameters:
  ///   - size: of the first arena, in bytes. To write everything anew takes long, and pages that hold no code yet cost nothing.
  ///   - limit: of the largest.
  init?(size: Int = 16 << 20, limit: Int = 64 << 20) {
    guard let arena = CodeArena(size: size) else { return nil }
    self.arena = arena
    sizeLimit = limit
    rebuild(FilterTrie())
  }

  /// Where the code is that finds the rank of the best filter that matches, until the next change.
  var address: UInt64 { arena.base + UInt64(entry) }
  /// The same for many packets.
  var batchAddress: UInt64 { arena.base + UInt64(batchEntry) }

  /// Follows a change of the trie.
  /// - Parameter gone: branches that went with it.
  func apply(_ change: FilterTrie.Change, gone: [Int] = [], to trie: FilterTrie) {
    for branch in gone { tables[branch] = nil }
    switch change {
    case .rank(let node):
      let parent = trie.nodes[node].parent
      if let tabled = tables[parent] {
        tabled.table.setRank(trie.nodes[node].rank, of: rawKey(trie, parent, trie.nodes[node].key))
      } else {
        recompile(node, trie)
      }
    case .edge(let branch, let key):
      guard let tabled = tables[branch] else {
        recompile(trie.branches[branch].node, trie)
        break
      }
      if let child = trie.branches[branch].edges[key] {
        changing(branch, tabled, trie) { enter(child, tabled, rawKey(trie, branch, key), trie) }
      } else {
        changing(branch, tabled, trie) {
          if !tabled.table.remove(rawKey(trie, branch, key)) { hasFailed = true }
        }
      }
    case .branches(let node): recompile(node, trie)
    }
    if needsRoom { rebuild(trie) }
  }

  /// Has a table changed, and what looks things up in it written anew if it has another form then.
  private func changing(_ branch: Int, _ tabled: Tabled, _ trie: FilterTrie, _ body: () -> Void) {
    let form = tabled.table.form
    body()
    if tabled.table.form != form { recompile(trie.branches[branch].node, trie) }
  }

  // --- blocks

  /// Writes the block anew that a node is in.
  private func recompile(_ start: Int, _ trie: FilterTrie) {
    var node = start
    while node != FilterTrie.root {
      let (parent, key) = (trie.nodes[node].parent, trie.nodes[node].key)
      if let tabled = tables[parent] {
        let target = trie.nodes[node].branches.isEmpty ? 0 : block(node, tabled.state, trie)
        changing(parent, tabled, trie) { tabled.table.setTarget(target, of: rawKey(trie, parent, key)) }
        return
      }
      node = trie.branches[parent].node
    }
    compileRoot(trie)
  }

  private func rebuild(_ trie: FilterTrie) {
    var size = arena.size
    while !hasFailed {
      needsRoom = false
      tables = [:]
      guard let fresh = CodeArena(size: size) else {
        hasFailed = true
        return
      }
      arena = fresh
      compileRoot(trie)
      // With room for as much again.
      if !needsRoom, arena.used <= size / 2 { return }
      size *= 2
      if size > sizeLimit { hasFailed = true }
    }
  }

  private func compileRoot(_ trie: FilterTrie) {
    entry = block(FilterTrie.root, State(), trie)
    var code = X86Assembler()
    let done = code.label()
    let next = code.beginBatch(else: done)
    var state = State()
    state.exit = .batch(next: next, last: done)
    compile(FilterTrie.root, state, trie, &code)
    code.place(done)
    code.endBatch()
    batchEntry = add(code)
  }
  private func block(_ node: Int, _ state: State, _ trie: FilterTrie) -> UInt32 {
    var code = X86Assembler()
    // What a table leads to has its rank there.
    compile(node, state, trie, &code, accepting: node == FilterTrie.root)
    return add(code)
  }
  private func add(_ code: X86Assembler) -> UInt32 {
    var code = code
    guard let place = arena.append(code.finish()) else {
      needsRoom = true
      return 0
    }
    return place
  }

  /// Puts a node into the table that leads to it.
  private func enter(_ node: Int, _ tabled: Tabled, _ key: UInt32, _ trie: FilterTrie) {
    let target = trie.nodes[node].branches.isEmpty ? 0 : block(node, tabled.state, trie)
    let entry = FilterTable.Entry(value: key, rank: trie.nodes[node].rank, target: target)
    if !tabled.table.set(entry) { hasFailed = true }
  }

  // --- nodes and branches. All of them end every way through their code.

  /// The best filter that ends at a node, and its branches.
  private func compile(
    _ node: Int, _ state: State, _ trie: FilterTrie, _ code: inout X86Assembler, accepting: Bool = true
  ) {
    var state = state
    if accepting, trie.nodes[node].rank != 0 {
      code.accept(trie.nodes[node].rank, orBetter: state.hasRank)
      state.hasRank = true
    }
    let branches = trie.nodes[node].branches
    guard let last = branches.last else { return finish(state, &code) }
    if branches.count > 1, !state.hasRank {
      code.acceptNothing()
      state.hasRank = true
    }
    let others = branches.dropLast().map { (branch: $0, label: code.label()) }
    for (_, label) in others {
      // What a branch may change of what the next one needs.
      if state.base == .register { code.emit(0x52, 0x41, 0x53) }  // push rdx; push r11
      code.call(label)
      if state.base == .register { code.emit(0x41, 0x5b, 0x5a) }  // pop r11; pop rdx
    }
    compile(branch: last, state, trie, &code)
    state.exit = .returning
    for (branch, label) in others {
      code.place(label)
      compile(branch: branch, state, trie, &code)
    }
  }

  /// Goes on with rax, or with nothing.
  private func finish(_ state: State, _ code: inout X86Assembler) {
    if !state.hasRank { code.acceptNothing() }
    switch state.exit {
    case .returning: code.ret()
    case .batch(let next, let last):
      // Here too, which spares a jump.
      code.nextOfBatch(next)
      code.jump(last)
    }
  }

  private func compile(branch: Int, _ state: State, _ trie: FilterTrie, _ code: inout X86Assembler) {
    let fail = code.label()
    let run = FilterRun(from: branch, of: trie) { tables[$0] != nil }
    assumeNoOptions(run, state, trie, &code, else: fail)
    var state = state
    if run.length > 0 {
      require(run.conditions, run.length, &state, &code, else: fail)
    }
    switch run.end {
    case .node(let node): compile(node, state, trie, &code)
    case .branch(let branch): compile(alone: branch, state, trie, &code, else: fail)
    }
    code.place(fail)
    finish(state, &code)
  }

  /// One branch, of several values or after which offsets count from elsewhere.
  private func compile(
    alone branch: Int, _ state: State, _ trie: FilterTrie, _ code: inout X86Assembler,
    else fail: X86Assembler.Label
  ) {
    var state = state
    let edges = trie.branches[branch].edges
    switch trie.branches[branch].kind {
    case .advance(let advance):
      code.move(advance, from: state.base, else: fail)
      (state.base, state.known) = (.register, 0)
      for (_, child) in edges { compile(child, state, trie, &code) }
    case .test(let field):
      fetch(field, &state, &code, else: fail)
      if edges.count > Self.inlineLimit || tables[branch] != nil {
        lookUp(branch, field, state, trie, &code, else: fail)
      } else {
        for (key, child) in edges {
          let next = code.label()
          code.compare(rawKey(trie, branch, key))
          code.jump(.notEqual, next)
          compile(child, state, trie, &code)
          code.place(next)
        }
        code.jump(fail)
      }
    }
  }

  private func lookUp(
    _ branch: Int, _ field: FilterField, _ state: State, _ trie: FilterTrie, _ code: inout X86Assembler,
    else fail: X86Assembler.Label
  ) {
    let table = table(branch, field, state, trie).table
    code.lookUp(table.form, multiplier: multiplier, miss: fail) { code in
      code.acceptEntry(orBetter: state.hasRank)
      var found = state
      found.hasRank = true
      guard table.form.leadsOn else { return finish(found, &code) }
      let nowhere = code.label()
      code.followEntry(arena: arena.base, nowhere: nowhere)
      // Blocks take no other constant, for two ways may lead to them.
      if state.base != .constant(0) { code.setBase(state.base) }
      switch state.exit {
      case .returning: code.jumpToR9()
      case .batch: code.callR9()
      }
      code.place(nowhere)
      finish(found, &code)
    }
  }

  // --- comparisons

  private func require(
    _ conditions: [Int: ByteCondition], _ length: Int, _ state: inout State, _ code: inout X86Assembler,
    else fail: X86Assembler.Label
  ) {
    if state.known < length {
      code.requireLength(length, from: state.base, else: fail)
      state.known = length
    }
    var (start, base) = (0, X86Assembler.Base.register)
    if case .constant(let bytes) = state.base { (start, base) = (bytes, .constant(0)) }
    let places = Dictionary(uniqueKeysWithValues: conditions.map { ($0 + start, $1) })
    for comparison in FilterComparison.covering(places, known: start + state.known) {
      code.require(comparison, from: base, else: fail)
    }
  }

  /// Where comparisons lead to what is behind an IPv4 header: the way for one of 20 bytes. Falls through for another, and where the
  /// packet may be too short for all of it.
  private func assumeNoOptions(
    _ run: FilterRun, _ state: State, _ trie: FilterTrie, _ code: inout X86Assembler,
    else fail: X86Assembler.Label
  ) {
    guard state.base == .constant(0), case .branch(let branch) = run.end,
      case .advance(.headerLength(let offset, mask: 0x0f, shift: 2)) = trie.branches[branch].kind,
      let node = trie.branches[branch].edges.first?.value
    else { return }
    let length = ByteCondition(mask: 0x0f, value: 5)
    guard length.isCompatible(with: run.conditions[offset]) else { return }
    var conditions = run.conditions
    conditions[offset] = length.and(conditions[offset])
    // What is asked next is within the packet too, if it is one thing.
    var behind = 0
    if trie.nodes[node].ranks.isEmpty, trie.nodes[node].branches.count == 1 {
      let next = FilterRun(from: trie.nodes[node].branches[0], of: trie) { tables[$0] != nil }
      behind = next.length
      if case .branch(let last) = next.end, case .test(let field) = trie.branches[last].kind,
        !field.isProtocol
      {
        behind = max(behind, field.offset + field.width)
      }
    }
    let (other, general) = (code.label(), code.label())
    var fast = state
    code.requireLength(max(run.length, offset + 1, 20 + behind), from: state.base, else: general)
    fast.known = max(state.known, run.length, offset + 1, 20 + behind)
    require(conditions, 0, &fast, &code, else: other)
    (fast.base, fast.known) = (.constant(20), fast.known - 20)
    compile(node, fast, trie, &code)
    code.place(other)
    // It is not what was asked for, unless its header has another length.
    code.load(offset, width: 1, from: state.base)
    code.and(0x0f)
    code.compare(5)
    code.jump(.equal, fail)
    code.place(general)
  }

  /// r8d = the field, as it lies in memory, under its mask.
  private func fetch(
    _ field: FilterField, _ state: inout State, _ code: inout X86Assembler, else fail: X86Assembler.Label
  ) {
    if field.isProtocol {
      code.emit(0x45, 0x89, 0xd8)  // mov r8d, r11d
    } else {
      let end = field.offset + field.width
      if state.known < end {
        code.requireLength(end, from: state.base, else: fail)
        state.known = end
      }
      code.load(field.offset, width: field.width, from: state.base)
    }
    let mask = Self.raw(field.mask, width: field.width)
    if field.mask != Self.fullMask(field.width) { code.and(mask) }
  }

  /// The table of a branch, filled when it is made.
  private func table(_ branch: Int, _ field: FilterField, _ state: State, _ trie: FilterTrie) -> Tabled {
    if let tabled = tables[branch] { return tabled }
    // What holds by whichever way the table is reached.
    var beyond = State()
    beyond.base = state.base == .constant(0) ? .constant(0) : .register
    beyond.known = field.isProtocol ? 0 : field.offset + field.width
    beyond.hasRank = true
    let tabled = Tabled(table: FilterTable(multiplier: multiplier), state: beyond)
    tables[branch] = tabled
    for (key, child) in trie.branches[branch].edges { enter(child, tabled, rawKey(trie, branch, key), trie) }
    if !tabled.table.moveRest() { hasFailed = true }
    return tabled
  }

  // --- values as they lie in memory, which spares the code to turn them around

  private func rawKey(_ trie: FilterTrie, _ branch: Int, _ key: UInt32) -> UInt32 {
    guard case .test(let field) = trie.branches[branch].kind else { return key }
    return Self.raw(key, width: field.width)
  }
  private static func raw(_ value: UInt32, width: Int) -> UInt32 {
    switch width {
    case 4: value.byteSwapped
    case 2: UInt32(UInt16(truncatingIfNeeded: value).byteSwapped)
    default: value
    }
  }
  private static func fullMask(_ width: Int) -> UInt32 {
    width == 4 ? .max : UInt32(1) << UInt32(width * 8) - 1
  }
}
