// What the rest of Drover sees of MQTT: a session that serves one handler until it is told to stop, and outlives its
// connections. This file holds what other threads may touch; what the session's own thread does is in SessionLoop.

package import DroverCore
package import Logging
import Synchronization

/// Drives a `SessionHandler` over libmosquitto.
package final class MosquittoSession: Sendable {
  private let options: MQTTOptions
  private let logger: Logger
  private let wakeup = Wakeup()
  private let isStopping = Atomic(false)

  package init(options: MQTTOptions, logger: Logger) {
    self.options = options
    self.logger = logger
  }

  /// Serves `handler` on the calling thread until `stop` was called and the handler is drained. Once per session.
  package func run(handler: any SessionHandler) {
    SessionLoop(
      options: options, logger: logger, wakeup: wakeup, handler: handler,
      isStopping: { self.isStopping.load(ordering: .acquiring) }
    ).run()
  }

  /// The same on a thread of its own; returns when that has ended. Cancelling the task stops the session.
  package func run(handler: sending any SessionHandler) async {
    let lent = Handover(value: handler)
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        startThread {
          self.run(handler: lent.value)
          continuation.resume()
        }
      }
    } onCancel: {
      stop()
    }
  }

  /// Makes the loop call `handler.turn` soon. From any thread, as often as one likes.
  package func wake() { wakeup.signal() }

  /// Asks the session to end: it waits until the handler is drained, at most `drainTimeout`, lets it say its last word,
  /// waits for the broker's PUBACKs, disconnects and returns from `run`; all of it within `drainTimeout` and a second.
  /// From any thread.
  package func stop() {
    isStopping.store(true, ordering: .releasing)
    wakeup.signal()
  }
}
