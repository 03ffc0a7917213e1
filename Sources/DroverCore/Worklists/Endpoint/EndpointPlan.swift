// What the cloud's configuration says of an endpoint that orders come from, or that completed orders are posted to.

/// An endpoint. What it is sent is never shown: an address is often its secret.
package struct EndpointPlan: Equatable, Sendable, CustomStringConvertible, CustomReflectable {
  package var url: EndpointTemplate
  package var method: String
  package var headers: [Header]
  /// Goes into the header `Authorization`.
  package var token: String?
  package var body: EndpointTemplate?
  /// The authorities that may have signed the endpoint's certificate; nil for those of the system.
  package var ca: String?
  /// For one request, from the connection to the last byte of the answer.
  package var timeout: Duration

  package struct Header: Equatable, Sendable {
    package var name: String
    package var value: String

    package init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  package init(
    url: EndpointTemplate, method: String, headers: [Header] = [], token: String? = nil, body: EndpointTemplate? = nil,
    ca: String? = nil, timeout: Duration = .seconds(30)
  ) {
    self.url = url
    self.method = method
    self.headers = headers
    self.token = token
    self.body = body
    self.ca = ca
    self.timeout = timeout
  }

  package var description: String { "(endpoint)" }
  package var customMirror: Mirror { Mirror(self, children: EmptyCollection<Mirror.Child>()) }

  package func has(_ name: String) -> Bool { url.has(name) || body?.has(name) == true }
}

/// `fetch` of a worklist: orders come from an endpoint.
package struct FetchPlan: Equatable, Sendable {
  package var endpoint: EndpointPlan
  /// The members that lead to the list in the answer; empty where the answer is the list.
  package var items: [String]
  /// The members that lead to an item's key.
  package var key: [String]
  /// The order's fields and the members that lead to them in an item; empty where the item's members are the fields.
  package var fields: [Field]
  /// The members that lead to the name of the order's machine; empty where the item names none.
  package var machine: [String]
  /// How often the endpoint is asked without a machine's request; nil: never.
  package var every: Duration?
  /// For how many orders it is asked then.
  package var limit: Int

  package struct Field: Equatable, Sendable {
    package var name: String
    package var path: [String]

    package init(name: String, path: [String]) {
      self.name = name
      self.path = path
    }
  }

  package init(
    endpoint: EndpointPlan, items: [String] = [], key: [String], fields: [Field] = [], machine: [String] = [],
    every: Duration? = nil, limit: Int = 100
  ) {
    self.endpoint = endpoint
    self.items = items
    self.key = key
    self.fields = fields
    self.machine = machine
    self.every = every
    self.limit = limit
  }

  /// - Parameter machine: that asks; nil for a request at the interval, whose template names none.
  package func request(limit: Int, machine: MachineID?) -> EndpointRequest {
    var values = [(name: "limit", value: Array(String(limit).utf8))]
    if let machine { values.append((name: "machine", value: Array(machine.text.utf8))) }
    return endpoint.request(values)
  }
}

/// `completed` of a worklist: where completed orders are posted.
package struct CompletedPlan: Equatable, Sendable {
  package var endpoint: EndpointPlan

  package init(endpoint: EndpointPlan) { self.endpoint = endpoint }
}

extension EndpointPlan {
  /// What a request sends, with values in place of the names in braces.
  package func request(_ values: [(name: String, value: [UInt8])]) -> EndpointRequest {
    EndpointRequest(
      method: method, url: String(decoding: url.filled(values), as: UTF8.self),
      headers: headers.map { ($0.name, $0.value) }, body: body?.filled(values))
  }
}

/// How an endpoint does, for people.
package struct EndpointStanding: Equatable, Sendable {
  package enum Kind: String, CaseIterable, Sendable {
    case fetch
    case completed
  }

  package var worklist: WorklistName
  package var kind: Kind
  /// Since the process began.
  package var requests = 0
  package var failures = 0
  /// Orders that were new, of those that came.
  package var added = 0
  /// Items that are no order.
  package var unusable = 0
  /// Completed orders that the endpoint has taken.
  package var posted = 0
  /// Of the last attempts.
  package var failuresInARow = 0
  /// Why the last attempt failed; nil after one that succeeded.
  package var failure: String?
  package var isOpen = false
  /// Microseconds since 1970.
  package var succeededAt: Int64?
  package var failedAt: Int64?
  /// When the next attempt may be made after a failure.
  package var nextAt: Int64?

  package init(_ worklist: WorklistName, _ kind: Kind) {
    self.worklist = worklist
    self.kind = kind
  }
}
