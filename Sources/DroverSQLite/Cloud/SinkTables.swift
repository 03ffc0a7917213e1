// The sink tables whose statements are compiled, and which of them each machine's events go into. To compile a table's statements takes
// longer than to merge an event, and each holds tens of kilobytes, so machines that agree on the table share it.

import DroverCore

struct SinkTables {
  /// More shapes than people make of their tables; beyond it all are compiled anew as they are needed.
  private static let mostShapes = 500

  private struct Origin: Hashable {
    var machine: MachineID
    var stream: StreamName
  }

  private var compiled: [StatementShape: SinkTable] = [:]
  /// Of machines whose tables were looked at since they last changed. A machine's stream has few: one for each schema that it still sends.
  private var taken: [Origin: [(sink: Sink, table: SinkTable)]] = [:]

  /// The table of a machine's sink; nil where it has to be looked at first.
  func table(of sink: Sink) -> SinkTable? {
    taken[Origin(machine: sink.machine, stream: sink.stream)]?.first { $0.sink == sink }?.table
  }

  /// The table of a sink that was looked at, from now on this machine's.
  /// - Parameters:
  ///   - latest: the schema that the machine's stream was described with last.
  ///   - compile: makes it where no other machine has one of this shape.
  mutating func take(
    _ sink: Sink, latest: StreamSchema?, compile: (StatementShape) throws -> SinkTable
  ) rethrows -> SinkTable {
    let shape = StatementShape(sink, latest: latest)
    if compiled[shape] == nil, compiled.count >= Self.mostShapes { self = SinkTables() }
    let table = try compiled[shape] ?? compile(shape)
    compiled[shape] = table
    taken[Origin(machine: sink.machine, stream: sink.stream), default: []].append((sink, table))
    return table
  }

  /// A machine has described its stream anew.
  mutating func forget(machine: MachineID, stream: StreamName) {
    for (_, table) in taken.removeValue(forKey: Origin(machine: machine, stream: stream)) ?? [] {
      table.forget(machine)
    }
  }

  /// The stream's table is another one now; streams that differ in case alone have one table.
  mutating func forget(stream: StreamName) {
    let name = SQLName(stream.text)
    compiled = compiled.filter { SQLName($0.key.stream.text) != name }
    taken = taken.filter { SQLName($0.key.stream.text) != name }
  }
}
