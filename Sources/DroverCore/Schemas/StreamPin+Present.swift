// Pins that say what is in the store now.

extension StreamPin {
  /// - Parameters:
  ///   - sinks: the tables that there are.
  ///   - schemas: for each machine's stream what it described last.
  package static func present(_ sinks: [SinkDescription], _ schemas: [ReplicatedStream]) -> [StreamPin] {
    let schemas = Dictionary(grouping: schemas) { SQLName($0.stream.text) }
    return sinks.filter { $0.header == nil }.map { sink in
      var pin = StreamPin(name: sink.stream, kind: sink.kind, isBody: sink.schema == nil)
      guard let table = sink.schema else { return pin }
      pin.key = table.sourceKey.map { table.columns[$0].name }
      // A type that is empty keeps whatever comes, as a BLOB column does.
      pin.columns = table.columns.filter { SQLName($0.name) != SQLName(StreamSchema.lifeColumn) }.map {
        Column(name: $0.name, declaredType: $0.declaredType.isEmpty ? "BLOB" : $0.declaredType)
      }.filter { isWritable($0.name) && isWritable($0.declaredType) }
      pin.lines = sinks.filter { $0.header.map { SQLName($0.text) } == SQLName(sink.stream.text) }.map(\.stream)
      let described = (schemas[SQLName(sink.stream.text)] ?? []).map(\.schema)
      // What all machines agree on; what they do not stays each machine's own.
      let conditions = Set(described.map { $0.completeWhen.map { ExactText($0.text) } })
      if conditions.count == 1 { pin.completeWhen = described[0].completeWhen }
      let keys = Set(described.map(\.naturalKey))
      if keys.count == 1 { pin.naturalKey = described[0].naturalKey }
      return pin
    }
  }

  /// Whether the configuration can say it.
  private static func isWritable(_ text: String) -> Bool {
    (1...128).contains(text.utf8.count) && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f }
  }
}

extension CloudReader {
  /// Pins that say what is in the store now; none where there is no store yet.
  package func pins() throws -> [StreamPin] { StreamPin.present(try sinks(), try latestSchemas()) }
}
