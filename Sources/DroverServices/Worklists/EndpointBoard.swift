// How the endpoints of the worklists do, for all that show it: the log's lines come from the services, figures and alerts from here. The store keeps it
// too, so that commands beside the consumer can show it.

import Dispatch
package import DroverCore
import DroverWire
package import Logging
import Synchronization

package final class EndpointBoard: Sendable {
  private let state = Mutex<(standings: [EndpointStanding], isWriting: Bool)>(([], false))
  private let memory: (any AlertMemory)?
  private let logger: Logger
  private let writing = DispatchQueue(label: "drover-endpoints")
  private let failure = Mutex<String?>(nil)

  /// - Parameter memory: where it is kept for commands; nil: nowhere.
  package init(memory: (any AlertMemory)?, logger: Logger) {
    self.memory = memory
    self.logger = logger
  }

  /// By worklist, then by kind.
  package var all: [EndpointStanding] {
    state.withLock(\.standings).sorted { ($0.worklist, $0.kind.rawValue) < ($1.worklist, $1.kind.rawValue) }
  }

  package func note(_ standing: EndpointStanding) {
    let isWriting = state.withLock { state in
      state.standings.removeAll { $0.worklist == standing.worklist && $0.kind == standing.kind }
      state.standings.append(standing)
      defer { state.isWriting = true }
      return state.isWriting
    }
    // What comes while a write waits goes with it.
    guard let memory, !isWriting else { return }
    writing.async { [self] in
      state.withLock { $0.isWriting = false }
      do {
        try memory.write(EndpointNotes(all).text)
        failure.withLock { $0 = nil }
      } catch {
        let isNew = failure.withLock { failure in
          defer { failure = "\(error)" }
          return failure != "\(error)"
        }
        if isNew { logger.warning("\(error); `drover worklist status` shows older figures of the ERP until then") }
      }
    }
  }
}
