// Getting a connection while the loop goes on. Looking up a name and connecting block, for minutes when a firewall
// swallows packets; a session must keep serving its handler meanwhile, and must be able to stop.

import Synchronization

/// Connects on a thread of its own and gives the connection back. An attempt that is no longer waited for ends with
/// its thread, which then holds the last reference and closes the connection.
final class ConnectionAttempt: Sendable {
  private let result = Mutex<Result<Handover<MosquittoConnection>, SessionEnd>?>(nil)

  /// Starts connecting; `wakeup` is signalled when there is a result.
  init(options: MQTTOptions, level: ProtocolLevel, wakeup: Wakeup) {
    startThread { [self] in
      let outcome = Result { () throws(SessionEnd) in
        let connection = try MosquittoConnection(options: options, level: level)
        try connection.connect()
        return Handover(value: connection)
      }
      result.withLock { $0 = outcome }
      wakeup.signal()
    }
  }

  /// The connection, which belongs to the caller from now on, or why there is none; nil while that is open.
  func take() throws(SessionEnd) -> MosquittoConnection? {
    let outcome = result.withLock { result in
      defer { result = nil }
      return result
    }
    return try outcome?.get().value
  }
}
