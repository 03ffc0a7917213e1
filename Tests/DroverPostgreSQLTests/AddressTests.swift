// The name by which logs and errors call a store. Of several hosts only the last had a port.

import DroverPostgreSQL
import Testing

@Suite struct AddressTests {
  @Test(arguments: [
    ("postgresql://u@one/db", "one/db"), ("postgresql://u@one:5433/db", "one:5433/db"),
    ("postgresql://u@one:5433,two:5434/db", "one:5433,two:5434/db"),
    ("postgresql://u@one,two:5434/db", "one,two:5434/db"),
    ("postgresql://u@one:5433,two/db", "one:5433,two/db"),
    ("postgresql:///db?host=one,two&port=5433", "one:5433,two:5433/db"),
  ]) func `a store is called by each host with its port`(uri: String, name: String) {
    #expect(PostgreSQLAddress(uri: uri).subject == name)
  }
}
