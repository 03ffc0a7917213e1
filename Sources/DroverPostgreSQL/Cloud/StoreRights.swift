// What the store's user may not do and the consumer needs, found without changing anything: for `drover doctor`.

import DroverCore

package enum StoreRights {
  /// Something that is lacking, and what grants it.
  package struct Lack: Equatable {
    package let text: String
    package let grant: String
  }

  /// - Throws: `PostgreSQLError` where the database cannot be asked.
  package static func lacking(at address: PostgreSQLAddress) throws -> [Lack] {
    let connection = try Connection(address)
    let hasStore = try connection.enterStore()
    let rights = try connection.query(
      """
      SELECT current_user::text, current_database()::text, current_schema()::text,
             coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
             has_database_privilege(current_database(), 'TEMPORARY'),
             current_setting('transaction_read_only') = 'on'
      """, operation: "open")
    let (user, database) = (quoted(rights.text(0, 0)), quoted(rights.text(0, 1)))
    var lacks: [Lack] = []
    func add(_ text: String, _ grant: String) {
      lacks.append(Lack(text: "user \(rights.text(0, 0)) \(text)", grant: grant))
    }
    guard let schema = rights.optionalText(0, 2) else {
      add(
        "may enter no schema of its search_path",
        "GRANT USAGE, CREATE ON SCHEMA public TO \(user), or create the schema that it is to use")
      return lacks
    }
    if !rights.boolean(0, 3) {
      add("may not make tables in schema \(schema)", "GRANT CREATE ON SCHEMA \(quoted(schema)) TO \(user)")
    }
    if !rights.boolean(0, 4) {
      add("may not make temporary tables", "GRANT TEMPORARY ON DATABASE \(database) TO \(user)")
    }
    if rights.boolean(0, 5) {
      add(
        "may only read",
        "name the primary server in `store:`, or ALTER ROLE \(user) SET default_transaction_read_only = off")
    }
    guard hasStore else { return lacks }
    let foreign = try connection.query(
      """
      SELECT relname::text, pg_get_userbyid(relowner)::text FROM pg_class
       WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relkind IN ('r', 'p')
         AND (relname LIKE 'drover\\_%' OR relname IN (SELECT table_name FROM drover_sink))
         AND NOT pg_has_role(relowner, 'USAGE')
       ORDER BY relname
      """, operation: "open")
    if foreign.count > 0 {
      add(
        "does not own \(foreign.count) tables of the store, such as \(foreign.text(0, 0)), and cannot follow changes of their schema",
        "GRANT \(quoted(foreign.text(0, 1))) TO \(user), or ALTER TABLE … OWNER TO \(user) for each")
    }
    return lacks
  }
}
