import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// The queue of orders in SQLite: what every store must hold, and what is this one's own.
@Suite(.ownThread) struct WorklistTests {
  private struct Client: SQLClient {
    let connection: DatabaseQueue
    func run(_ sql: String) throws { try connection.inDatabase { try $0.execute(sql: sql) } }
  }

  private static func place(_ folder: Folder) throws -> WorklistPlace {
    WorklistPlace(
      store: try SQLiteCloudStore(path: folder.path),
      open: { try SQLiteWorklists(path: folder.path, plans: $0) }, client: Client(connection: try folder.connect()))
  }

  @Test(arguments: WorklistConformance.claims)
  func `it holds what every store must`(claim: WorklistConformance.Claim) throws {
    let folder = try Folder()
    try WorklistConformance { try Self.place(folder) }.check(claim)
  }

  private let mo = try! StreamName("mo")
  private let machine = try! MachineID("MAH001")

  // INSERT OR REPLACE deletes the row that stands there, and no trigger for DELETE sees it: the order would be queued again, and handed out twice.
  @Test func `a program that replaces what was handed out changes nothing`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    let queue = try place.open([WorklistPlan(name: mo, stream: mo)])
    func insert(_ how: String) throws {
      try place.client.run("\(how) INTO drover_order (worklist, order_key, fields) VALUES ('mo', '1', '{\"n\":2}')")
    }
    try insert("INSERT")
    try insert("REPLACE")
    #expect(try queue.summary(mo).counts == [.queued: 1])
    let request = OrderRequest(request: RefillID(random: 1), stream: mo, limit: 1, bytes: 9999, last: nil)
    _ = try queue.answer(request, of: machine, from: mo, now: 1)
    for how in ["INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE", "INSERT"] {
      try insert(how)
      #expect(try queue.order("1", in: mo)?.state == .handedOut)
      #expect(try queue.order("1", in: mo)?.holder == machine)
    }
  }

  @Test func `a store that is not there is not made`() throws {
    let folder = try Folder()
    #expect(throws: CloudStoreError.self) { try SQLiteWorklists(path: folder.path, plans: []) }
  }
}
