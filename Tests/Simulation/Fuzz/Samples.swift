// Real documents, which the mutator changes.

import DroverCore
import DroverWire

struct FuzzSamples {
  let schema: StreamSchema
  let unit: StreamSchema
  let frames: [[UInt8]]
  let bare: [[UInt8]]
  let schemas: [[UInt8]]
  let statuses: [[UInt8]]
  let requests: [[UInt8]]
  let replies: [[UInt8]]
  let notes: [[UInt8]]

  init() throws {
    schema = try StreamSchema(
      kind: .snapshot,
      columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")], key: [0])
    unit = try StreamSchema(
      kind: .batch,
      columns: [
        Column(name: "id", declaredType: "INTEGER"), Column(name: "k", declaredType: "REAL"),
        Column(name: "status", declaredType: "INTEGER"),
      ], key: [0, 1], completeWhen: try Condition(parsing: "status = 1 AND (k > 1.5 OR NOT k IS NULL)"),
      lines: [
        LineSchema(
          table: StreamName("lines"),
          columns: [
            Column(name: "n", declaredType: "INTEGER"), Column(name: "h", declaredType: "INTEGER"),
            Column(name: "j", declaredType: "REAL"),
          ], key: [0], references: [1, 2])
      ])
    let head = #"{"v":1,"epoch":"3f9c2a","run":1795170500123456,"after":40,"through":43,"last":44"#
    frames = [
      head
        + #","schema":"\#(schema.id)","events":[{"seq":41,"id":"7","op":"put","version":1795170600123000,"at":"2026-11-20T10:30:00.123Z","body":{"id":7,"a":"x"}},{"seq":42,"id":"3","op":"delete","version":1795170600124000},{"seq":43,"version":1795170600125000,"row":[8,{"$blob":"AAEC"}]}]}"#,
      head
        + #","schema":"\#(unit.id)","events":[{"seq":41,"id":"[7,2.5]","version":1795170600123000,"body":{"id":7,"k":2.5,"status":0},"with":{"lines":[{"n":1,"h":7,"j":2.5},{"n":2,"h":7,"j":2.5}]}},{"seq":43,"id":"[7,2.5]","version":1795170600124000,"body":{"id":7,"k":2.5,"status":1},"with":{"lines":[]}}]}"#,
      head
        + #","events":[{"seq":42,"id":"é-1","version":1795170600123000,"at":"2026-11-20T10:30:00.123Z","body":{"celsius":21.5,"deep":[[1,[2]],{"a":null}]}}]}"#,
      head + #","events":[]}"#,
    ].map { Array($0.utf8) }
    bare = [
      #"{"id":"7","body":{"celsius":21.5}}"#, #"{"id":7,"op":"delete","version":5}"#,
      #"{"id":"[1,2.0]","body":{"id":1,"k":2.0,"status":0},"with":{"lines":[]},"at":"x"}"#,
    ].map { Array($0.utf8) }
    schemas = [
      schema.document, unit.document,
      try StreamSchema(
        kind: .snapshot,
        columns: [Column(name: "code", declaredType: "TEXT"), Column(name: "b", declaredType: "")], key: [0],
        naturalKey: NaturalKey(columns: ["code"], fallback: ["b"])
      ).document,
    ]
    let epoch = try Epoch("3f9c2a")
    statuses = [
      MachineStatus(
        isOnline: true, epoch: epoch, software: "0.1", at: 1_795_170_600_000_000, ask: 5_519_310, clockOffset: -3,
        outbox: OutboxFigures(waiting: 12, oldest: 1_795_170_600_000_000, deadLetters: 1, freeBytes: 1 << 40)),
      MachineStatus(isOnline: false, epoch: nil, software: nil, at: nil),
    ].map(\.document)
    let questions: [StreamRequest.Question] = [
      .parts(bits: 3), .rows(bits: 2, parts: [0, 1, 3]), .standing(["1", "2", "x"]), .sendAgain(["1", "[1,2]"]),
      .resync(
        ResyncOrder(
          condition: try Condition(parsing: "a = 'x' AND id > 0"),
          since: .init(column: "id", moment: 1_795_000_000_000_000),
          rate: 1000)), .resync(ResyncOrder()), .progress,
    ]
    requests = try questions.map { [schema] in
      StreamRequest(id: "ab12", stream: try StreamName("t"), schema: schema.id, question: $0).document
    }
    let answers: [StreamReply.Content] = [
      .parts(Parts(bits: 2, fingerprints: [0: Fingerprint(rows: 5, sum: 9), 3: Fingerprint(rows: 1, sum: .max)])),
      .rows([.init(id: "1", digest: 77), .init(id: "é", digest: .max)]),
      .standing([.init(id: "1", standing: RowState(digest: nil, isWaiting: true))]), .entered(3),
      .progress(ResyncProgress(total: 10, looked: 5, entered: 5, elapsed: 1_000_000, isDone: false)), .failure("why"),
    ]
    replies = answers.map { StreamReply($0, number: 1, hasMore: true).document }
    let alert = Alert(
      rule: .silent, subject: AlertSubject(machine: "M", part: "t"), count: 3, since: 1_795_170_600_000_000, value: 9,
      text: "t")
    notes = [Array(AlertNotes(open: [alert], waiting: [AlertChange(.firing, alert, at: 5)]).text.utf8)]
  }

  func confirmations(_ epoch: Epoch, reached: Int64) -> [[UInt8]] {
    [
      #"{"v":1,"epoch":"\#(epoch)","session":"s","at":"2026-11-20T10:30:00.130Z","at_us":1795170600130000,"answer":5519310,"max_message_bytes":4194304,"runs":[[0,1],[1795170500123456,\#(reached)]],"streams":{"t":{"through":\#(reached),"ahead":[[\#(reached + 3),\#(reached + 9)]]},"ev":{"through":0,"ahead":[]}}}"#,
      #"{"v":1,"epoch":"\#(epoch)","session":"s","at_us":1795170600130000,"runs":[],"streams":{}}"#,
    ].map { Array($0.utf8) }
  }

  static let conditions = [
    #""status_manufacturing" = 1"#, "a IN (1, 2.5, 'x', x'00ff') AND NOT (b IS NOT NULL OR c >= -9223372036854775808)",
    "((((a = 1))))", "a <> 'é' OR \"b c\" < 1e10",
  ]
  static let configurations = [
    """
    machine: M10
    database: ./app.db
    broker: mqtt://localhost:1883
    streams:
      - {table: t, kind: snapshot, exclude: [a], hash: [b], where: "a > 1"}
      - {name: ev, kind: payload}
      - {table: lot, kind: batch, complete_when: "status = 1", with: [{table: lines, references: {h: id}}]}
    outbox: {max_bytes: 1GiB, retention: {age: 2d, bytes: 64MiB}}
    frame: {events: 100, bytes: 64KiB}
    """,
    """
    broker: mqtts://broker:8883
    store: ./cloud.db
    limits: {message_bytes: 4MiB, streams_per_machine: 200}
    http: {listen: 127.0.0.1:8080, tokens: [{name: t, token_env: TOK}]}
    alerts: {silent: 10m, hold: 30s, dead_letters: 3}
    check: {every: 1h, repair: true}
    batch: {messages: 1000, bytes: 8MiB}
    """,
  ]
  static let cursors = ["3f9c2a-42", "abc-42-99", "1k2-0"]
  static let topics = [
    "drover/v1/EVIL/snapshot/t", "drover/v1/EVIL/payload/ev", "drover/v1/EVIL/status", "drover/v1/EVIL/schema/t",
    "drover/v1/EVIL/reply/ab12", "drover/v1/EVIL/command/hold",
  ]
}
