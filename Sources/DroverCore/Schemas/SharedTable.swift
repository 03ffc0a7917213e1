// A sink table belongs to all machines that have a stream of its name. What one of them describes may change it for that machine alone; what
// would change it for the others waits for the operator: `drover schema accept`, or a pin. docs/decisions/0027 says why.

/// Why a schema cannot be followed.
package struct Obstacle: Equatable, Sendable {
  package enum Way: Equatable, Sendable {
    /// A limit, or a table that is not Drover's: nothing that could be accepted.
    case none
    /// The configuration pins it otherwise.
    case pin
    /// The table could follow, if the operator says so: other machines use it, or a limit is reached.
    case word
    /// The table of this stream cannot follow; another can be made in its place.
    case table(StreamName)
  }

  package var reason: String
  package var way: Way

  package init(_ reason: String, _ way: Way) {
    self.reason = reason
    self.way = way
  }

  /// Whether it is kept for the operator; what nothing stands in the way of but a limit is not, so that the store does not fill with
  /// descriptions.
  package var isKept: Bool { way != .none }
}

/// What `accept` has done.
package struct Acceptance: Equatable, Sendable {
  /// The names that tables have now which were put aside, with their rows; empty where the table could follow.
  package var aside: [String]

  package init(aside: [String]) { self.aside = aside }
}

/// An accepted schema meets the configuration, or a limit.
package struct AcceptanceRefused: Error, CustomStringConvertible {
  package let description: String
  package init(description: String) { self.description = description }
}

/// A sink table as it is shared by machines.
package struct SharedTable: Equatable, Sendable {
  /// Columns that only this machine has.
  package var own: Int
  /// The same of each other machine.
  package var others: [Int]

  package init(own: Int = 0, others: [Int] = []) {
    self.own = own
    self.others = others
  }

  /// How many of the table's columns are not counted against a machine, because other single machines have more than they may.
  /// - Parameter budget: how many columns one machine may add.
  package func uncounted(_ budget: Int) -> Int { others.reduce(0) { $0 + max(0, $1 - budget) } }

  /// Why a machine may not change a table that others use too, or nil.
  /// - Parameters:
  ///   - lacking: columns that it brings.
  ///   - retyped: columns of the table that would have another type, each with the type that it brings.
  ///   - pin: what the operator has said of the stream already.
  ///   - budget: how many columns one machine may add.
  package func refusal(
    lacking: [Column], retyped: [(present: Column, new: Column)], _ stream: StreamName, _ pin: StreamPin?, budget: Int
  ) -> String? {
    if let (present, new) = retyped.first(where: { pin?.column(SQLName($0.new.name)) == nil }) {
      return
        "its column \(new.name) is \(new.typeName), and that of the sink table \(stream), which other machines use, is \(present.typeName)"
    }
    let added = own + lacking.count { pin?.column(SQLName($0.name)) == nil }
    guard lacking.isEmpty || added <= budget else {
      return
        "the sink table \(stream), which other machines use, would have \(added) columns that this machine alone has, and limits.columns_per_machine is \(budget)"
    }
    return nil
  }
}

extension NaturalKey {
  /// Why it waits.
  package func refusal(inUseOf stream: StreamName) -> String {
    "its rows are matched by \(words), and other machines use the sink table \(stream) without that"
  }
}
