// Numbers from outside. One frame with `through` 2^63-1 ended the consumer by an overflow, and the broker delivered it again at each start; one
// status with such a number stood in the store and ended whoever read it.

import DroverCore
import DroverWire
import Testing

@Suite struct BoundsTests {
  static let extremes: [Int64] = [
    .max, .max - 1, .min + 1, .min, -1, 1 << 62, -(1 << 62), (1 << 62) + 1, 1 << 53, 1 << 32,
  ]

  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  private func frame(_ members: String, _ events: String = "[]") throws -> DecodedMessage {
    try FrameDecoder.decode(bytes(#"{"v":1,"epoch":"ab",\#(members),"events":\#(events)}"#)) { _ in nil }
  }

  @Test(arguments: [
    #""run":#,"after":0,"through":1"#, #""after":#,"through":4611686018427387903"#, #""after":0,"through":#"#,
    #""after":0,"through":5,"last":#"#,
  ])
  func `a frame's numbers stay where no arithmetic on them overflows`(members: String) throws {
    for number in Self.extremes {
      guard case .frame(let frame)? = try? frame(members.replacing("#", with: "\(number)")) else { continue }
      let header = frame.header
      #expect(Bounds.run.contains(header.run) && Bounds.sequence.contains(header.last), "\(number)")
      #expect(Bounds.sequence.contains(header.interval.after) && Bounds.sequence.contains(header.interval.through))
    }
    for number in [Int64.max, .min, -1, 1 << 62] {
      #expect(throws: WireError.self, "\(number)") { try frame(members.replacing("#", with: "\(number)")) }
    }
  }

  @Test func `an event whose number cannot be true is a dead letter of its own`() throws {
    let whole = #"{"seq":#,"id":"1","version":5,"body":1}"#
    for number in [Int64.max, .min, -1, 0, 4] {
      let events = "[\(whole.replacing("#", with: "\(number)")),\(whole.replacing("#", with: "2"))]"
      guard case .frame(let frame) = try frame(#""after":0,"through":3"#, events) else { throw WireError("no frame") }
      #expect(frame.events.map(\.seq) == [2] && frame.broken.count == 1, "\(number)")
    }
  }

  private func refuses(
    _ document: String, _ numbers: [Int64] = [.max, .min, .min + 1], _ read: ([UInt8]) throws -> Void
  ) {
    for number in numbers {
      #expect(throws: WireError.self, "\(document) with \(number)") {
        try read(bytes(document.replacing("#", with: "\(number)")))
      }
    }
  }

  @Test(arguments: [
    #"{"v":1,"epoch":"ab","session":"s","at_us":#,"streams":{}}"#,
    #"{"v":1,"epoch":"ab","session":"s","at_us":5,"answer":#,"streams":{}}"#,
    #"{"v":1,"epoch":"ab","session":"s","at_us":5,"max_message_bytes":#,"streams":{}}"#,
    #"{"v":1,"epoch":"ab","session":"s","at_us":5,"runs":[[#,1]],"streams":{}}"#,
    #"{"v":1,"epoch":"ab","session":"s","at_us":5,"runs":[[1,#]],"streams":{}}"#,
    #"{"v":1,"epoch":"ab","session":"s","at_us":5,"streams":{"t":{"through":#,"ahead":[]}}}"#,
    #"{"v":1,"epoch":"ab","session":"s","at_us":5,"streams":{"t":{"through":1,"ahead":[[#,9]]}}}"#,
    #"{"v":1,"epoch":"ab","session":"s","at_us":5,"streams":{"t":{"through":1,"ahead":[[5,#]]}}}"#,
  ])
  func `a confirmation with a number that cannot be true is refused`(document: String) {
    refuses(document) { _ = try Confirmation(document: $0) }
  }

  // An agent that believed it gave every row up as too large.
  @Test func `no consumer takes messages of one byte`() throws {
    let document = #"{"v":1,"epoch":"ab","session":"s","at_us":5,"max_message_bytes":#,"streams":{}}"#
    refuses(document, [1, 0, -5, 1023, 1 << 40]) { _ = try Confirmation(document: $0) }
    #expect(try Confirmation(document: bytes(document.replacing("#", with: "1024"))).maxMessageBytes == 1024)
  }

  @Test(arguments: [
    #"{"v":1,"online":true,"at_us":#}"#, #"{"v":1,"online":true,"ask":#}"#,
    #"{"v":1,"online":true,"clock_offset_us":#}"#,
    #"{"v":1,"online":true,"outbox":{"waiting":#,"dead_letters":0}}"#,
    #"{"v":1,"online":true,"outbox":{"waiting":0,"dead_letters":#}}"#,
    #"{"v":1,"online":true,"outbox":{"waiting":0,"dead_letters":0,"oldest_us":#}}"#,
    #"{"v":1,"online":true,"outbox":{"waiting":0,"dead_letters":0,"free_bytes":#}}"#,
  ])
  func `a status with a number that cannot be true is refused`(document: String) {
    refuses(document) { _ = try MachineStatus(document: $0) }
  }

  @Test func `a machine whose clock says an impossible time still says that it is there`() throws {
    for at in Self.extremes {
      let status = MachineStatus(isOnline: true, epoch: nil, software: nil, at: at, clockOffset: at)
      #expect(try MachineStatus(document: status.document).isOnline, "\(at)")
    }
  }

  @Test(arguments: [
    #"{"v":1,"number":0,"more":false,"bits":#,"parts":[]}"#,
    #"{"v":1,"number":0,"more":false,"bits":0,"parts":[[#,5,"1"]]}"#,
    #"{"v":1,"number":0,"more":false,"bits":0,"parts":[[0,#,"1"]]}"#,
    #"{"v":1,"number":#,"more":false,"bits":0,"parts":[]}"#, #"{"v":1,"number":0,"more":false,"entered":#}"#,
    #"{"v":1,"number":0,"more":false,"total":#,"looked":1,"brought":1,"elapsed_us":1,"done":false}"#,
    #"{"v":1,"number":0,"more":false,"total":1,"looked":#,"brought":1,"elapsed_us":1,"done":false}"#,
    #"{"v":1,"number":0,"more":false,"total":1,"looked":1,"brought":#,"elapsed_us":1,"done":false}"#,
    #"{"v":1,"number":0,"more":false,"total":1,"looked":1,"brought":1,"elapsed_us":#,"done":false}"#,
  ])
  func `an answer with a number that cannot be true is refused`(document: String) {
    refuses(document, [.max, .min, -1]) { _ = try StreamReply(document: $0) }
  }

  @Test func `an answer tells of each part once, and of those that there are`() throws {
    let document = #"{"v":1,"number":0,"more":false,"bits":1,"parts":[[0,9,"1"],[#,9,"2"]]}"#
    refuses(document, [0, 2, 2047]) { _ = try StreamReply(document: $0) }
    guard case .parts(let parts) = try StreamReply(document: bytes(document.replacing("#", with: "1"))).content else {
      throw WireError("no parts")
    }
    #expect(parts.rows == 18)
  }

  @Test(arguments: [
    #""ask":"parts","bits":#"#, #""ask":"rows","bits":#,"parts":[]"#, #""ask":"rows","bits":3,"parts":[#]"#,
    #""ask":"resync","rate":#"#, #""ask":"resync","since_us":#,"time_column":"t""#,
  ])
  func `a question with a number that cannot be true is refused`(members: String) {
    refuses(#"{"v":1,"id":"a","stream":"t","schema":"x",\#(members)}"#) { _ = try StreamRequest(document: $0) }
  }

  @Test func `a question names no more IDs than an agent looks up in one piece`() {
    let ids = (0...Bounds.localIDs).map { #""\#($0)""# }.joined(separator: ",")
    refuses(#"{"v":1,"id":"a","stream":"t","schema":"x","ask":"standing","ids":[\#(ids)]}"#, [0]) {
      _ = try StreamRequest(document: $0)
    }
  }

  // The place of each column of the key was looked for among all columns: a description of a few MiB held the consumer up for hours.
  @Test func `a description has as many columns as a table can have`() {
    let columns = (0...Bounds.columns).map { #"{"name":"c\#($0)","type":""}"# }.joined(separator: ",")
    refuses(#"{"v":1,"schema":"x","kind":"snapshot","key":["c1"],"columns":[\#(columns)]}"#, [0]) {
      _ = try StreamSchema(document: $0)
    }
  }

  @Test func `alerts that a store remembers with impossible numbers are none`() {
    let open = #"{"rule":"silent","machine":"M","part":null,"count":C,"since":S,"value":V,"text":"t"}"#
    for (place, whole) in [("C", "1"), ("S", "1")] {
      var note = #"{"open":[\#(open)],"waiting":[]}"#.replacing(place, with: "9223372036854775807")
      for other in ["C", "S", "V"] where other != place { note = note.replacing(other, with: whole) }
      #expect(throws: WireError.self, "\(note)") { try AlertNotes(parsing: note) }
    }
  }

  @Test func `progress of an impossible speed can be shown`() {
    let progress = ResyncProgress(total: .max, looked: .max, entered: .min, elapsed: .max, isDone: false)
    #expect(Int(exactly: progress.rate!.rounded()) != nil && Int(exactly: progress.secondsLeft!.rounded()) != nil)
    let slow = ResyncProgress(total: .max, looked: 1, entered: 0, elapsed: .max, isDone: false)
    #expect(Int(exactly: slow.secondsLeft!.rounded()) != nil)
  }
}
