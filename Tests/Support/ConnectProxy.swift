// Stands between a client and a broker and behaves like one that knows no MQTT 5, or not all of it; everything else it passes on. Also a
// way to cut a connection that both sides think well of.

import DroverProcesses
import Glibc
import Synchronization

package final class ConnectProxy: Sendable {
  package enum TowardsMQTT5: Equatable, Sendable {
    /// A 3.1.1 broker's answer: CONNACK with code 1.
    case refuse
    /// Hangs up without a word.
    case hangUp
    case pass
    /// Asks no broker and says these bytes.
    case answer([UInt8])

    fileprivate var isAnswer: Bool { if case .answer = self { true } else { false } }
  }

  package let port: Int
  /// The protocol levels of the CONNECT packets that came, in order.
  package let levels = Observed<[Int]>([])
  private let listener: Int32
  private let brokerPort: Int
  private let manner: TowardsMQTT5
  private let connections = Mutex<[(client: Int32, broker: Int32)]>([])

  package init(to brokerPort: Int, _ manner: TowardsMQTT5) {
    self.brokerPort = brokerPort
    self.manner = manner
    while true {
      let port = Loopback.freePort()
      guard let listener = Loopback.listen(port: port) else { continue }
      self.port = port
      self.listener = listener
      break
    }
    let listener = listener
    inThread { [weak self] in
      while case let client = accept(listener, nil, nil), client >= 0 {
        guard let self else {
          close(client)
          break
        }
        inThread { self.serve(client) }
      }
      close(listener)
    }
  }

  deinit {
    shutdown(listener, Int32(SHUT_RDWR))
    cut()
  }

  /// Ends every connection on both sides.
  package func cut() {
    connections.withLock {
      for (client, broker) in $0 {
        shutdown(client, Int32(SHUT_RDWR))
        shutdown(broker, Int32(SHUT_RDWR))
      }
    }
  }

  /// Sends bytes to every client as if they came from the broker; at a moment when the broker is silent.
  package func tellClients(_ bytes: [UInt8]) {
    connections.withLock { for (client, _) in $0 { _ = sendAll(bytes[...], to: client) } }
  }

  private func serve(_ client: Int32) {
    defer { close(client) }
    // Fixed header (2 bytes: our CONNECTs are short or long; 2 or 3), protocol name, level. [MQTT-3.1.2]
    var start = [UInt8](repeating: 0, count: 512)
    var count = 0
    while count < 12 {
      let read = start.withUnsafeMutableBytes { recv(client, $0.baseAddress! + count, $0.count - count, 0) }
      guard read > 0 else { return }
      count += read
    }
    guard let name = start.firstIndex(of: UInt8(ascii: "M")) else { return }
    let level = Int(start[name + 4])
    levels.update { $0.append(level) }
    if level == 5, manner != .pass {
      switch manner {
      case .refuse: _ = sendAll([0x20, 0x02, 0x00, 0x01], to: client)
      case .answer(let bytes): _ = sendAll(bytes[...], to: client)
      case .hangUp, .pass: break
      }
      if !manner.isAnswer { shutdown(client, Int32(SHUT_WR)) }
      while recv(client, &start, start.count, 0) > 0 {}
      return
    }
    guard let broker = Loopback.connect(port: brokerPort) else { return }
    defer { close(broker) }
    connections.withLock { $0.append((client, broker)) }
    defer { connections.withLock { $0.removeAll { $0.client == client } } }
    guard sendAll(start[..<count], to: broker) else { return }
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      var sides = [
        pollfd(fd: client, events: Int16(POLLIN), revents: 0), pollfd(fd: broker, events: Int16(POLLIN), revents: 0),
      ]
      guard poll(&sides, 2, -1) > 0 else { return }
      for (from, to) in [(0, broker), (1, client)] where sides[from].revents != 0 {
        let read = recv(sides[from].fd, &buffer, buffer.count, 0)
        guard read > 0, sendAll(buffer[..<read], to: to) else { return }
      }
    }
  }

  private func sendAll(_ bytes: ArraySlice<UInt8>, to descriptor: Int32) -> Bool {
    var rest = bytes
    while !rest.isEmpty {
      let sent = rest.withUnsafeBytes { send(descriptor, $0.baseAddress!, $0.count, Int32(MSG_NOSIGNAL)) }
      guard sent > 0 else { return false }
      rest = rest.dropFirst(sent)
    }
    return true
  }
}

/// Blocking socket calls stay off the pool that the tests run on.
private func inThread(_ body: @escaping @Sendable () -> Void) {
  let start = Unmanaged.passRetained(ThreadStart(body: body))
  var thread = pthread_t()
  let failure = pthread_create(
    &thread, nil,
    { argument in
      Unmanaged<ThreadStart>.fromOpaque(argument!).takeRetainedValue().body()
      return nil
    }, start.toOpaque())
  precondition(failure == 0)
  pthread_detach(thread)
}

private final class ThreadStart: Sendable {
  let body: @Sendable () -> Void
  init(body: @escaping @Sendable () -> Void) { self.body = body }
}
