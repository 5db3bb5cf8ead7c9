/// The trie as x86-64 code, kept up with it change by change.
///
/// Code comes in blocks: one for the root, and one for each node that a table leads to. A block holds everything below its node
/// up to the next tables: comparisons of one or two values, moves, and, where a node has several branches, a call for each but
/// the last. A branch of more values is a table (`FilterTable`), so that one value more is no new code. A block that changes is
/// written anew at the end of the arena and whoever leads to it is told; when the arena is full everything is written
/// into a new one.
final class FilterCompiler {
  /// A branch whose values are in a table, and what is known where it leads.
  private struct Tabled {
    let table: FilterTable
    let state: State
  }
  /// What is known at a place in the code.
  private struct State {
    /// Offsets count from the packet's first byte: rdx is 0.
    var atStart = true
    /// The packet is known to have so many bytes from where offsets count.
    var known = 0
  }

  private var arena: CodeArena
  private var tables: [Int: Tabled] = [:]
  private var entry: UInt32 = 0
  /// Against values that were chosen to share places in a table.
  private let multiplier = UInt32.random(in: 1 << 30...UInt32.max) | 1
  /// Set when there is no more room, or no more sense: then the trie is interpreted.
  private(set) var hasFailed = false
  private let sizeLimit: Int
  private var needsRoom = false

  /// Branches of more values than this are tables.
  private static let inlineLimit = 2

  /// Nil where code cannot be made.
  init?(size: Int = 1 << 20, limit: Int = 64 << 20) {
    guard let arena = CodeArena(size: size) else { return nil }
    self.arena = arena
    sizeLimit = limit
    rebuild(FilterTrie())
  }

  /// Where the code is that finds the rank of the best filter that matches, until the next change.
  var address: UInt64 { arena.base + UInt64(entry) }

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
        enter(child, tabled, rawKey(trie, branch, key), trie)
      } else {
        tabled.table.remove(rawKey(trie, branch, key))
      }
    case .branches(let node): recompile(node, trie)
    }
    if needsRoom { rebuild(trie) }
  }

  // --- blocks

  /// Writes the block anew that a node is in.
  private func recompile(_ start: Int, _ trie: FilterTrie) {
    var node = start
    while node != FilterTrie.root {
      let (parent, key) = (trie.nodes[node].parent, trie.nodes[node].key)
      if let tabled = tables[parent] {
        let target = trie.nodes[node].branches.isEmpty ? 0 : block(node, tabled.state, trie)
        tabled.table.setTarget(target, of: rawKey(trie, parent, key))
        return
      }
      node = trie.branches[parent].node
    }
    entry = rootBlock(trie)
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
      entry = rootBlock(trie)
      // With room for as much again.
      if !needsRoom, arena.used <= size / 2 { return }
      size *= 2
      if size > sizeLimit { hasFailed = true }
    }
  }

  private func rootBlock(_ trie: FilterTrie) -> UInt32 {
    var code = X86Assembler()
    code.emit(0x31, 0xc0)  // xor eax, eax
    code.emit(0x31, 0xd2)  // xor edx, edx
    code.accept(trie.nodes[FilterTrie.root].rank)
    compile(FilterTrie.root, State(), trie, &code)
    return add(code)
  }
  private func block(_ node: Int, _ state: State, _ trie: FilterTrie) -> UInt32 {
    var code = X86Assembler()
    compile(node, state, trie, &code)
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

  // --- nodes and branches

  /// The branches of a node, and then a return.
  private func compile(_ node: Int, _ state: State, _ trie: FilterTrie, _ code: inout X86Assembler) {
    let branches = trie.nodes[node].branches
    guard let last = branches.last else { return code.ret() }
    let others = branches.dropLast().map { (branch: $0, label: code.label()) }
    for (_, label) in others {
      // What a branch may change of what the next one needs.
      if !state.atStart { code.emit(0x52, 0x41, 0x53) }  // push rdx; push r11
      code.call(label)
      if state.atStart {
        code.emit(0x31, 0xd2)  // xor edx, edx
      } else {
        code.emit(0x41, 0x5b, 0x5a)  // pop r11; pop rdx
      }
    }
    compile(branch: last, state, trie, &code)
    for (branch, label) in others {
      code.place(label)
      compile(branch: branch, state, trie, &code)
    }
  }

  /// One branch, and a return from every way through it.
  private func compile(branch: Int, _ state: State, _ trie: FilterTrie, _ code: inout X86Assembler) {
    let fail = code.label()
    var state = state
    switch trie.branches[branch].kind {
    case .advance(let advance):
      code.move(advance, fromStart: state.atStart, else: fail)
      state = State(atStart: false, known: 0)
      for child in trie.branches[branch].edges.values {
        code.accept(trie.nodes[child].rank)
        compile(child, state, trie, &code)
      }
    case .test(let field):
      fetch(field, &state, &code, else: fail)
      let edges = trie.branches[branch].edges
      if edges.count > Self.inlineLimit || tables[branch] != nil {
        let tabled = table(branch, state, trie)
        code.lookUp(tabled.table.address, multiplier: multiplier, base: arena.base, miss: fail)
      } else {
        for (key, child) in edges {
          let next = code.label()
          code.compare(rawKey(trie, branch, key))
          code.jump(.notEqual, next)
          code.accept(trie.nodes[child].rank)
          compile(child, state, trie, &code)
          code.place(next)
        }
      }
    }
    code.place(fail)
    code.ret()
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
        code.requireLength(end, fromStart: state.atStart, else: fail)
        state.known = end
      }
      code.load(field.offset, width: field.width, fromStart: state.atStart)
    }
    let mask = Self.raw(field.mask, width: field.width)
    if field.mask != Self.fullMask(field.width) { code.and(mask) }
  }

  /// The table of a branch, filled when it is made.
  private func table(_ branch: Int, _ state: State, _ trie: FilterTrie) -> Tabled {
    if let tabled = tables[branch] { return tabled }
    let tabled = Tabled(table: FilterTable(multiplier: multiplier), state: state)
    tables[branch] = tabled
    for (key, child) in trie.branches[branch].edges { enter(child, tabled, rawKey(trie, branch, key), trie) }
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
