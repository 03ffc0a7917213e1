// Makes documents that nobody writes out of documents that Drover writes: numbers at the edges of what a type holds, members that are missing, doubled
// or swapped, names that look alike, texts that are cut. Random under a seed.

struct Mutator {
  var random: Seeded

  private static let numbers = [
    "0", "-0", "-1", "1", "2", "255", "1023", "65536", "2147483647", "2147483648", "-2147483649", "9007199254740991",
    "9007199254740992", "9007199254740993", "4611686018427387903", "4611686018427387904", "9223372036854775806",
    "9223372036854775807", "9223372036854775808", "-9223372036854775807", "-9223372036854775808",
    "-9223372036854775809", "18446744073709551615", "18446744073709551616", "1e308", "-1e308", "1e999", "1.5", "1e3",
    "7258118400000000", "7258118400000001", "281474976710655", "288230376151711743", "99999999999999999999999999",
  ]
  private static let texts = [
    "", " ", "\\u0000", "\\u0000a", "e\u{301}", "\u{e9}", "u\u{308}", "\u{fc}", "\u{212a}", "\u{202e}x", "\\ud800",
    "\\ud83d\\ude00", "\u{10ffff}", "drover_x", "sqlite_x", "$x", "a/b", "+", "#", "\\\"", "\\\\", "t", "id",
    "machine_id",
    "drover_rowid", "put", "delete", "snapshot", "batch", "payload", "9223372036854775807", "[1,2]", "[",
    "\"; DROP TABLE t",
    "INTEGER", "TEXT", "'", "NULL", "ffffffffffffffff",
  ]
  private static let atoms = [
    "null", "true", "false", "{}", "[]", "\"\"", "[[]]", "{\"$blob\":\"AA==\"}", "{\"$real\":\"inf\"}",
  ]

  /// A JSON text, changed once or a few times; now and then left alone.
  mutating func document(_ text: [UInt8]) -> [UInt8] {
    var text = text
    let changes = random.percent(5) ? 0 : 1 + random.below(4)
    for _ in 0..<changes {
      if random.percent(80), var tree = Node(parsing: text) {
        change(&tree)
        text = tree.text
      } else {
        text = bytes(text)
      }
    }
    return text
  }

  /// Any text, changed byte by byte.
  mutating func bytes(_ text: [UInt8]) -> [UInt8] {
    var text = text
    guard !text.isEmpty else { return [UInt8.random(in: .min ... .max, using: &random)] }
    switch random.below(7) {
    case 0: return Array(text.prefix(random.below(text.count)))
    case 1: text[random.below(text.count)] = .random(in: .min ... .max, using: &random)
    case 2:
      text.insert(
        contentsOf: random.pick([[0], [0xff], [0xc3], Array("é".utf8), [0x0a]]), at: random.below(text.count))
    case 3: text.remove(at: random.below(text.count))
    case 4:
      let start = random.below(text.count)
      text.insert(contentsOf: text[start..<min(text.count, start + 1 + random.below(40))], at: random.below(text.count))
    case 5:
      let start = random.below(text.count)
      text.removeSubrange(start..<min(text.count, start + 1 + random.below(20)))
    default:
      let start = random.below(text.count)
      text.replaceSubrange(start..<min(text.count, start + 1 + random.below(3)), with: random.pick(Self.numbers).utf8)
    }
    return text
  }

  mutating func name() -> String {
    random.percent(50)
      ? random.pick(["t", "ev", "lot", "e", "f"]) : random.pick(Self.texts).replacing("\\u0000", with: "\0")
  }

  private mutating func change(_ tree: inout Node) {
    var place = random.below(tree.count)
    change(&tree, &place)
  }

  /// Changes the node with this number, counted from the root.
  private mutating func change(_ node: inout Node, _ place: inout Int) {
    guard place > 0 else {
      place = -1
      return replace(&node)
    }
    place -= 1
    switch node {
    case .atom: return
    case .array(var elements):
      for index in elements.indices where place >= 0 {
        change(&elements[index], &place)
      }
      node = .array(elements)
    case .object(var members):
      for index in members.indices where place >= 0 {
        change(&members[index].value, &place)
      }
      node = .object(members)
    }
  }

  private mutating func replace(_ node: inout Node) {
    switch node {
    case .atom(let text):
      if random.percent(10) {
        node = .atom(Array(random.pick(Self.atoms).utf8))
      } else if text.first == UInt8(ascii: "\"") {
        node = .atom(Array("\"\(random.pick(Self.texts))\"".utf8))
      } else {
        node = .atom(Array(random.pick(Self.numbers).utf8))
      }
    case .array(var elements):
      switch random.below(6) {
      case 0 where !elements.isEmpty: elements.remove(at: random.below(elements.count))
      case 1 where !elements.isEmpty: elements.append(elements[random.below(elements.count)])
      case 2 where elements.count > 1: elements.swapAt(random.below(elements.count), random.below(elements.count))
      case 3: elements = [.array(elements)]
      case 4 where !elements.isEmpty:
        elements += Array(repeating: elements[random.below(elements.count)], count: random.pick([10, 200]))
      default: elements.append(.atom(Array(random.pick(Self.numbers).utf8)))
      }
      node = .array(elements)
    case .object(var members):
      switch random.below(7) {
      case 0 where !members.isEmpty: members.remove(at: random.below(members.count))
      case 1 where !members.isEmpty:
        members.insert(members[random.below(members.count)], at: random.below(members.count))
      case 2 where members.count > 1: members.swapAt(random.below(members.count), random.below(members.count))
      case 3 where members.count > 1:
        let (one, other) = (random.below(members.count), random.below(members.count))
        (members[one].value, members[other].value) = (members[other].value, members[one].value)
      case 4 where !members.isEmpty:
        members[random.below(members.count)].name = Array("\"\(random.pick(Self.texts))\"".utf8)
      case 5:
        var deep = Node.object(members)
        for _ in 0..<random.pick([1, 40, 200]) { deep = .array([deep]) }
        node = deep
        return
      default: members.append((Array("\"x\"".utf8), .atom(Array(random.pick(Self.numbers).utf8))))
      }
      node = .object(members)
    }
  }
}

/// A JSON text as a tree; names and atoms as they are written.
private indirect enum Node {
  case atom([UInt8])
  case array([Node])
  case object([(name: [UInt8], value: Node)])

  init?(parsing text: [UInt8]) {
    var rest = text[...]
    guard let node = Self.read(&rest, depth: 0) else { return nil }
    self = node
  }

  var count: Int {
    switch self {
    case .atom: 1
    case .array(let elements): elements.reduce(1) { $0 + $1.count }
    case .object(let members): members.reduce(1) { $0 + $1.value.count }
    }
  }

  var text: [UInt8] {
    var out: [UInt8] = []
    write(into: &out)
    return out
  }

  private func write(into out: inout [UInt8]) {
    switch self {
    case .atom(let text): out += text
    case .array(let elements):
      out.append(UInt8(ascii: "["))
      for (index, element) in elements.enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        element.write(into: &out)
      }
      out.append(UInt8(ascii: "]"))
    case .object(let members):
      out.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        out += member.name + [UInt8(ascii: ":")]
        member.value.write(into: &out)
      }
      out.append(UInt8(ascii: "}"))
    }
  }

  private static func read(_ rest: inout ArraySlice<UInt8>, depth: Int) -> Node? {
    guard depth < 250, let first = rest.first else { return nil }
    switch first {
    case UInt8(ascii: "{"):
      rest.removeFirst()
      var members: [(name: [UInt8], value: Node)] = []
      while rest.first != UInt8(ascii: "}") {
        guard let name = text(&rest), rest.popFirst() == UInt8(ascii: ":"), let value = read(&rest, depth: depth + 1)
        else { return nil }
        members.append((name, value))
        if rest.first == UInt8(ascii: ",") { rest.removeFirst() } else if rest.first != UInt8(ascii: "}") { return nil }
      }
      rest.removeFirst()
      return .object(members)
    case UInt8(ascii: "["):
      rest.removeFirst()
      var elements: [Node] = []
      while rest.first != UInt8(ascii: "]") {
        guard let element = read(&rest, depth: depth + 1) else { return nil }
        elements.append(element)
        if rest.first == UInt8(ascii: ",") { rest.removeFirst() } else if rest.first != UInt8(ascii: "]") { return nil }
      }
      rest.removeFirst()
      return .array(elements)
    case UInt8(ascii: "\""): return text(&rest).map(Node.atom)
    default:
      let atom = rest.prefix { !",]}:".utf8.contains($0) }
      rest = rest.dropFirst(atom.count)
      return atom.isEmpty ? nil : .atom(Array(atom))
    }
  }

  private static func text(_ rest: inout ArraySlice<UInt8>) -> [UInt8]? {
    guard rest.popFirst() == UInt8(ascii: "\"") else { return nil }
    var text = [UInt8(ascii: "\"")]
    while let byte = rest.popFirst() {
      text.append(byte)
      if byte == UInt8(ascii: "\\"), let next = rest.popFirst() { text.append(next) }
      if byte == UInt8(ascii: "\"") { return text }
    }
    return nil
  }
}
