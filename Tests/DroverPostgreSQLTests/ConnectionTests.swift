import DroverPostgreSQL
import DroverProcesses
import DroverTesting
import Testing

@Suite(.ownThread) struct ConnectionTests {
  @Test func `values go and come in binary, NULL and empty ones too`() throws {
    let database = try TestServer.makeDatabase()
    defer { withExtendedLifetime(database) {} }
    let connection = try database.connect()
    let rows = try connection.query(
      "SELECT $1::bigint, $2::text, $3::bytea, $4::boolean, $5::text, $6::text",
      [.integer(Int64.min), .text("größe 😀"), .blob([0, 255]), .boolean(true), .text(nil), .text("")])
    #expect(rows.integer(0, 0) == .min && rows.text(0, 1) == "größe 😀" && rows.bytes(0, 2) == [0, 255])
    #expect(rows.boolean(0, 3) && rows.isNull(0, 4) && !rows.isNull(0, 5) && rows.text(0, 5) == "")
    let list = try connection.query(
      "SELECT * FROM unnest($1::bigint[], $2::text[])", [.integers([3, -1]), .texts(["a", ""])])
    #expect(list.count == 2 && list.integer(1, 0) == -1 && list.text(0, 1) == "a")
  }

  @Test func `a statement that fails leaves the connection in order`() throws {
    let database = try TestServer.makeDatabase()
    defer { withExtendedLifetime(database) {} }
    let connection = try database.connect()
    for _ in 0..<2 {
      #expect(throws: PostgreSQLError.self) { try connection.query("SELECT 1 FROM nothing") }
      #expect(try connection.query("SELECT 7::bigint").integer(0, 0) == 7)
    }
  }

  @Test func `an error names server, database, cause and what to do, and no password`() throws {
    let uri = try TestServer.uri("nowhere")
    #expect {
      try Connection(PostgreSQLAddress(uri: uri, password: "geheim"))
    } throws: { error in
      let text = "\(error)"
      return text.contains("nowhere") && text.contains("does not exist") && text.contains("CREATE DATABASE")
        && !text.contains("geheim")
    }
    #expect {
      try Connection(PostgreSQLAddress(uri: "postgresql://u:geheim@127.0.0.1:1/db"))
    } throws: { "\($0)".contains("127.0.0.1:1/db") && !"\($0)".contains("geheim") }
    #expect { try Connection(PostgreSQLAddress(uri: "postgresql://u:geheim@[/db")) } throws: {
      !"\($0)".contains("geheim")
    }
  }
}
