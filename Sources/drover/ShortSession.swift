// A visit to the broker: a connection of a command's or a service's own that ends with its work. What the session logs of its failures is kept, for it
// is the answer to the one who waits.

import DroverConfiguration
import DroverCore
import DroverMQTT
import DroverServices

struct ShortSession: BrokerVisit {
  let broker: String
  let user: String?
  private let session: MosquittoSession
  private let remarks = Remarks()
  var remark: String? { remarks.last }

  private init(_ connection: BrokerConnection, clientID: String, subscriptions: [Subscription]) {
    broker = "\(connection.broker)"
    var options = MQTTOptions(connection)
    options.clientID = "\(clientID)-\(MQTTOptions.passing)"
    options.sessionExpiry = .zero
    options.drainTimeout = .seconds(1)
    options.subscriptions = subscriptions
    user = options.username
    session = MosquittoSession(options: options, logger: remarks.logger)
  }

  /// To ask machines.
  /// - Parameter name: makes the client ID differ from those of the consumer and of others that ask.
  init(asking connection: BrokerConnection, name: String) {
    self.init(
      connection, clientID: "\(connection.clientID)-\(name)",
      subscriptions: [Subscription(filter: Topic.replyFilter)])
  }

  /// To send dead letters again.
  init(replaying connection: BrokerConnection) {
    self.init(connection, clientID: "drover-dead", subscriptions: [])
  }

  func run(handler: sending any SessionHandler) async { await session.run(handler: handler) }
  func wake() { session.wake() }
  func stop() { session.stop() }
}

extension MachineChannel {
  convenience init(_ connection: BrokerConnection, name: String) {
    self.init(ShortSession(asking: connection, name: name))
  }
}
