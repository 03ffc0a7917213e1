// A machine whose name comes from elsewhere: the agent waits for it, and ends its work under a name that is no longer the machine's.

import DroverConfiguration
import DroverCore
import DroverSQLite
import Foundation
import Logging
import ServiceLifecycle
import Synchronization

/// Reads the name from the machine's own database.
let machineNameQuery: MachineNaming.Query = { database, sql throws(MachineNaming.Refused) in
  do throws(EdgeStoreError) {
    return try MachineNameQuery.run(sql, in: database)
  } catch {
    throw MachineNaming.Refused("\(error)")
  }
}

enum MachineNameWait {
  private static let interval = Duration.seconds(1)

  /// The configuration, as soon as the machine has a name. The reason is logged once, and again when it is another one.
  static func configuration(of options: ConfigurationOption, logger: Logger) async throws -> EdgeConfiguration {
    var logged: String?
    while true {
      do throws(ConfigurationErrors) {
        let configuration = try options.loadEdge()
        if logged != nil { logger.info("the machine's name is \(configuration.machine)") }
        return configuration
      } catch  where error.lacksNameAlone {
        let reason = error.problems.map(\.message).joined(separator: "; ")
        if logged != reason { logger.warning("\(reason)") }
        logged = reason
      } catch {
        throw options.refuse(error)
      }
      try await Task.sleep(for: interval)
    }
  }
}

/// Ends when the machine has another name. A name that is gone is none: the agent goes on under the one that it has.
final class MachineNameWatch: Service {
  private static let interval = Duration.seconds(5)

  private let options: ConfigurationOption
  private let machine: MachineID
  private let logger: Logger
  private let renamed = Mutex(false)

  init(options: ConfigurationOption, machine: MachineID, logger: Logger) {
    self.options = options
    self.machine = machine
    self.logger = logger
  }

  var isRenamed: Bool { renamed.withLock { $0 } }

  func run() async throws {
    while !Task.isShuttingDownGracefully {
      do { try await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.interval) } } catch { return }
      guard let configuration = try? options.loadEdge(), configuration.machine != machine else { continue }
      logger.warning(
        "the machine's name is \(configuration.machine) now, and was \(machine): the agent begins again under the new name"
      )
      renamed.withLock { $0 = true }
      return
    }
  }
}
