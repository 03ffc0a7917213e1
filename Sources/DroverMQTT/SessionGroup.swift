// Many sessions on one thread, to see what a fleet costs without a process or a thread for each machine. Connections and handlers are those
// of a single session; what is shared is the waiting: epoll(7) for the sockets, a wheel for the turns.

private import CEpoll
package import DroverCore
import Glibc
package import Logging

package final class SessionGroup {
  /// Connections that wait for CONNACK and SUBACK at a time: the broker's queue of connections to accept has a hundred places, and beyond
  /// it the kernel tries again only after a second.
  private static let mostOpening = 64
  /// As long as a session's own.
  private static let openingLimit = Duration.seconds(30)
  private static let longestSleep = Duration.seconds(1)

  private struct Member {
    let options: MQTTOptions
    let handler: any SessionHandler
    var visit: ServedConnection?
    /// When the present connection began.
    var began = ContinuousClock.now
    /// What epoll was told last.
    var wantsWrite = false
    /// Attempts that failed in a row.
    var attempt = 0
  }

  private var members: [Member]
  /// Who waits to be connected, the next one last.
  private var toConnect: [Int]
  private var opening = 0
  private let descriptor: Int32
  private var wheel: TimerWheel
  private let start = ContinuousClock.now
  private let backoff = Backoff()
  private let logger: Logger
  private let sparesDescriptors: Bool
  /// How many connections stand.
  package private(set) var open = 0

  /// Connects no session yet.
  /// - Parameters:
  ///   - members: over plain TCP.
  ///   - sparesDescriptors: a connection takes one file descriptor instead of three. While it is made no other thread of the process can open
  ///     anything, so this is for a process that does nothing else.
  package init(
    _ members: [(options: MQTTOptions, handler: any SessionHandler)], sparesDescriptors: Bool = false, logger: Logger
  ) {
    precondition(
      members.allSatisfy { $0.options.tls == nil }, "epoll knows nothing of bytes that are left inside OpenSSL")
    self.sparesDescriptors = sparesDescriptors
    self.members = members.map { Member(options: $0.options, handler: $0.handler) }
    self.logger = logger
    toConnect = members.indices.reversed()
    wheel = TimerWheel(count: members.count, now: 0)
    MosquittoConnection.initializeLibrary
    descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
    precondition(descriptor >= 0, "no epoll: \(String(cString: strerror(errno)))")
  }

  deinit { close(descriptor) }

  /// Serves all connections on the calling thread until `isOver`, which is asked in each round. The connections stand when it returns, and are
  /// served on by the next call.
  package func run(until isOver: () throws -> Bool) throws {
    var events = [epoll_event](repeating: epoll_event(), count: 512)
    while try !isOver() {
      connectSome()
      for number in wheel.advance(to: milliseconds) { takeTurn(number) }
      // A millisecond: no handler's wish is shorter, and `isOver` is asked as often.
      let count = epoll_wait(descriptor, &events, Int32(events.count), 1)
      for event in events.prefix(max(0, Int(count))) { serve(Int(event.data.u32)) }
    }
  }

  private var milliseconds: Int { Int(start.duration(to: .now) / .milliseconds(1)) }

  // MARK: Connecting

  private func connectSome() {
    while opening < Self.mostOpening, let number = toConnect.popLast() {
      do throws(SessionEnd) {
        let connection = try makeConnection(members[number].options)
        try connection.connect()
        let options = members[number].options
        members[number].visit = ServedConnection(
          connection: connection, pace: BatchPace(largest: options.batchMessages, keepAlive: options.keepAlive))
        members[number].began = .now
        members[number].wantsWrite = false
        opening += 1
        try watch(number, EPOLL_CTL_ADD)
        wheel.set(number, in: 1)
      } catch {
        end(number, error)
      }
    }
  }

  /// libmosquitto opens a pair of sockets for each client, to wake a thread of its own that there is not here. It does without where the
  /// process may open nothing.
  private func makeConnection(_ options: MQTTOptions) throws(SessionEnd) -> MosquittoConnection {
    guard sparesDescriptors else { return try MosquittoConnection(options: options, level: .mqtt5) }
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    var limit = rlimit()
    getrlimit(resource, &limit)
    var none = limit
    none.rlim_cur = 0
    setrlimit(resource, &none)
    defer { setrlimit(resource, &limit) }
    return try MosquittoConnection(options: options, level: .mqtt5)
  }

  /// The connection has ended: the handler hears of it, and another one is tried after a while, two seconds at most: the broker is on this host.
  private func end(_ number: Int, _ end: SessionEnd) {
    if let visit = members[number].visit {
      visit.connection.close()
      if visit.isOpen { open -= 1 } else { opening -= 1 }
      members[number].visit = nil
      if visit.isOpen { members[number].handler.sessionClosed(reason: end.text(members[number].options)) }
      if visit.wasOfUse { members[number].attempt = 0 }
    }
    members[number].attempt += 1
    let delay = backoff.delay(attempt: members[number].attempt, seed: .random(in: .min ... .max))
    logger.warning("\(members[number].options.clientID): \(end.text(members[number].options)); trying again")
    wheel.set(number, in: Int(delay / .milliseconds(1)))
  }

  // MARK: Serving

  /// The socket has something: data, room, its end or an error.
  private func serve(_ number: Int) {
    guard members[number].visit != nil else { return }
    let handler = members[number].handler
    var hasOpened = false
    let served = Result { () throws(SessionEnd) in
      try members[number].visit!.serve(handler) { _ in hasOpened = true }
    }
    if hasOpened { (opening, open) = (opening - 1, open + 1) }
    do throws(SessionEnd) { try served.get() } catch { return end(number, error) }
    takeTurn(number)
  }

  /// The handler's turn, and what comes of it is sent.
  private func takeTurn(_ number: Int) {
    guard let visit = members[number].visit else { return toConnect.append(number) }
    let wish = members[number].handler.turn(now: .now)
    do throws(SessionEnd) {
      try visit.connection.write()
      try visit.connection.keepAlive()
      if !visit.isOpen, members[number].began.duration(to: .now) > Self.openingLimit {
        throw .noAnswer(within: Self.openingLimit)
      }
      if visit.connection.wantsWrite != members[number].wantsWrite {
        members[number].wantsWrite.toggle()
        try watch(number, EPOLL_CTL_MOD)
      }
    } catch {
      return end(number, error)
    }
    wheel.set(number, in: Int((min(wish, Self.longestSleep) / .milliseconds(1)).rounded(.up)))
  }

  private func watch(_ number: Int, _ operation: Int32) throws(SessionEnd) {
    guard let socket = members[number].visit?.connection.socket else { throw .lost("closed") }
    let interest = EPOLLIN.rawValue | (members[number].wantsWrite ? EPOLLOUT.rawValue : 0)
    var event = epoll_event(events: interest, data: epoll_data(u32: UInt32(number)))
    guard epoll_ctl(descriptor, operation, socket, &event) == 0 else {
      throw .lost("epoll_ctl: \(String(cString: strerror(errno)))")
    }
  }
}
