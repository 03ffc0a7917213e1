// Rows as they are carried through agent and consumer. A backlog brings hundreds of thousands in a second, so the values of all rows of one
// read or one message stand in two buffers, and a row is a place in them: no allocation for a row, and none for a text in it.

/// A value whose bytes are lent: they are there as long as the call lasts that shows it.
package enum LentValue {
  case null
  case integer(Int64)
  case real(Double)
  case text(UnsafeRawBufferPointer)
  case blob(UnsafeRawBufferPointer)

  package static func == (a: LentValue, b: LentValue) -> Bool {
    switch (a, b) {
    case (.null, .null): true
    case (.integer(let x), .integer(let y)): x == y
    case (.real(let x), .real(let y)): x.bitPattern == y.bitPattern
    case (.text(let x), .text(let y)), (.blob(let x), .blob(let y)): x.elementsEqual(y)
    default: false
    }
  }
}

extension Value {
  /// Shows the value without copying it.
  package func lend<Result>(_ body: (LentValue) throws -> Result) rethrows -> Result {
    switch self {
    case .null: try body(.null)
    case .integer(let integer): try body(.integer(integer))
    case .real(let real): try body(.real(real))
    case .text(let bytes): try bytes.withUnsafeBytes { try body(.text($0)) }
    case .blob(let bytes): try bytes.withUnsafeBytes { try body(.blob($0)) }
    }
  }

  /// A copy of what is lent.
  package init(_ lent: LentValue) {
    self =
      switch lent {
      case .null: .null
      case .integer(let integer): .integer(integer)
      case .real(let real): .real(real)
      case .text(let bytes): .text(ArraySlice(bytes))
      case .blob(let bytes): .blob(ArraySlice(bytes))
      }
  }
}

/// The values of one row, or of one key.
package struct Values: RandomAccessCollection, Hashable, Sendable, ExpressibleByArrayLiteral {
  private let store: ValueStore
  private let first: Int
  package let count: Int

  fileprivate init(_ store: ValueStore, first: Int, count: Int) {
    self.store = store
    self.first = first
    self.count = count
  }

  package init(_ values: some Collection<Value>) {
    store = ValueStore()
    first = 0
    count = values.count
    for value in values { store.append(value) }
  }

  package init(arrayLiteral values: Value...) { self.init(values) }

  package var startIndex: Int { 0 }
  package var endIndex: Int { count }

  package subscript(position: Int) -> Value {
    precondition(indices.contains(position))
    return Value(store.lent(first + position))
  }

  /// Shows the values in their order without copying them.
  package func lendEach(_ body: (_ position: Int, _ value: LentValue) throws -> Void) rethrows {
    for position in 0..<count { try body(position, store.lent(first + position)) }
  }

  /// Shows one value without copying it.
  package func lend<Result>(_ position: Int, _ body: (LentValue) throws -> Result) rethrows -> Result {
    precondition(indices.contains(position))
    return try body(store.lent(first + position))
  }

  package static func == (a: Values, b: Values) -> Bool {
    a.count == b.count && (0..<a.count).allSatisfy { a.store.lent(a.first + $0) == b.store.lent(b.first + $0) }
  }

  package func hash(into hasher: inout Hasher) { for value in self { hasher.combine(value) } }
}

/// Where the values of many rows stand one after another. Values are only added, and never change; one thread adds them, and is
/// done when it hands the rows to another.
package final class ValueStore: @unchecked Sendable {
  private enum Cell {
    case null
    case integer(Int64)
    case real(Double)
    case text(at: Int, count: UInt32)
    case blob(at: Int, count: UInt32)
  }

  private struct Memory {
    var cells = Buffer<Cell>()
    var bytes = Buffer<UInt8>()
  }
  /// Behind a pointer, because the checks of access to a class's variables cost more than what is done here.
  private let memory: UnsafeMutablePointer<Memory>

  package init() {
    memory = .allocate(capacity: 1)
    memory.initialize(to: Memory())
  }

  deinit {
    memory.pointee.cells.free()
    memory.pointee.bytes.free()
    memory.deallocate()
  }

  /// How many values there are.
  package var count: Int { memory.pointee.cells.count }

  /// The values from a place on, as a row.
  package func values(from first: Int) -> Values { Values(self, first: first, count: count - first) }

  package func append(_ value: Value) { value.lend { append(lent: $0) } }

  package func append(lent value: LentValue) {
    let cell: Cell =
      switch value {
      case .null: .null
      case .integer(let integer): .integer(integer)
      case .real(let real): .real(real)
      case .text(let text): .text(at: memory.pointee.bytes.count, count: memory.pointee.bytes.append(text))
      case .blob(let blob): .blob(at: memory.pointee.bytes.count, count: memory.pointee.bytes.append(blob))
      }
    memory.pointee.cells.append(cell)
  }

  fileprivate func lent(_ index: Int) -> LentValue {
    switch memory.pointee.cells.start![index] {
    case .null: .null
    case .integer(let integer): .integer(integer)
    case .real(let real): .real(real)
    case .text(let place, let count): .text(memory.pointee.bytes.slice(place, count))
    case .blob(let place, let count): .blob(memory.pointee.bytes.slice(place, count))
    }
  }
}

/// Memory that grows at its end.
private struct Buffer<Element: BitwiseCopyable> {
  private(set) var start: UnsafeMutablePointer<Element>?
  private var capacity = 0
  var count = 0

  func free() { start?.deallocate() }

  mutating func append(_ element: Element) {
    if count == capacity { grow(toHold: count + 1) }
    (start! + count).initialize(to: element)
    count += 1
  }

  mutating func grow(toHold least: Int) {
    capacity = Swift.max(least, capacity * 2, 256)
    let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity)
    if let start { larger.moveInitialize(from: start, count: count) }
    start?.deallocate()
    start = larger
  }
}

extension Buffer where Element == UInt8 {
  mutating func append(_ more: UnsafeRawBufferPointer) -> UInt32 {
    guard let source = more.baseAddress, !more.isEmpty else { return 0 }
    let end = count + more.count
    if end > capacity { grow(toHold: end) }
    UnsafeMutableRawPointer(start! + count).copyMemory(from: source, byteCount: more.count)
    count = end
    // SQLite's values and MQTT's messages are below 2^31 bytes.
    return UInt32(more.count)
  }

  func slice(_ place: Int, _ count: UInt32) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: start.map { $0 + place }, count: Int(count))
  }
}
