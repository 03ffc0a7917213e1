// What the edge's configuration says of a worklist: a table that holds the next few orders and gets more when it is ready for them.

package struct WorklistDeclaration: Equatable, Sendable {
  /// When the table is ready for the next orders.
  package enum RefillWhen: String, CaseIterable, Sendable {
    /// It has no row.
    case empty
    /// It has no unfinished row. The refill removes the finished ones, whose last state is on its way to the cloud.
    case finished
  }

  /// Most orders of one request.
  package static let mostOrders = 1000
  package static let standardInterval = Duration.seconds(300)
  package static let standardLimit = 10

  /// How long the agent waits between two requests.
  package var interval: Duration
  /// How many orders it asks for.
  package var limit: Int
  /// The column that gets 1 to n in each refill; nil: none does.
  package var number: String?
  /// The column with the order's key, which is the stream's key.
  package var orderKey: String
  package var refillWhen: RefillWhen
  /// Whether the agent asks at all.
  package var isEnabled: Bool
  /// The order's field for a column; a column that is not named here takes the field of its own name.
  package var fields: [ColumnField]

  package struct ColumnField: Equatable, Sendable {
    package var column: String
    package var field: String

    package init(column: String, field: String) {
      self.column = column
      self.field = field
    }
  }

  package init(
    orderKey: String, interval: Duration = standardInterval, limit: Int = standardLimit, number: String? = nil,
    refillWhen: RefillWhen = .empty, isEnabled: Bool = true, fields: [ColumnField] = []
  ) {
    self.orderKey = orderKey
    self.interval = interval
    self.limit = limit
    self.number = number
    self.refillWhen = refillWhen
    self.isEnabled = isEnabled
    self.fields = fields
  }
}
