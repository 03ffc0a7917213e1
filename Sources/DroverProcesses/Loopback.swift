// Sockets on 127.0.0.1 for brokers and for what stands in front of them.

import Glibc
import Synchronization

package enum Loopback {
  /// The caller that got one may not listen on it yet.
  private static let given = Mutex<Set<Int>>([])

  /// A port without a listener, which was not given out in this process before. Below the range from which the system takes ports for
  /// outgoing connections, so that a server that is killed and started again finds its port free.
  package static func freePort() -> Int {
    while true {
      let port = Int.random(in: 15_000..<32_000)
      if given.withLock({ $0.insert(port).inserted }), let socket = listen(port: port) {
        close(socket)
        return port
      }
    }
  }

  /// A listening socket, or nil if the port is taken.
  package static func listen(port: Int, backlog: Int32 = 16) -> Int32? {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    precondition(descriptor >= 0, "no socket: \(String(cString: strerror(errno)))")
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    var yes: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    guard withAddress(port: port, { bind(descriptor, $0, $1) }) == 0, Glibc.listen(descriptor, backlog) == 0 else {
      close(descriptor)
      return nil
    }
    return descriptor
  }

  /// A port on which connect(2) gets no answer at all, as behind a firewall that swallows packets; for as long as the
  /// returned sockets are open.
  package static func silentPort() -> (port: Int, sockets: [Int32]) {
    while true {
      let port = freePort()
      guard let listener = listen(port: port, backlog: 0) else { continue }
      // A full queue of connections that are not accepted: the system drops further SYNs.
      let fillers = (0..<4).map { _ in
        let filler = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        _ = fcntl(filler, F_SETFD, FD_CLOEXEC)
        _ = fcntl(filler, F_SETFL, O_NONBLOCK)
        _ = withAddress(port: port) { Glibc.connect(filler, $0, $1) }
        return filler
      }
      return (port, [listener] + fillers)
    }
  }

  /// A connected socket, or nil if no program listens.
  package static func connect(port: Int) -> Int32? {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    precondition(descriptor >= 0, "no socket: \(String(cString: strerror(errno)))")
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    guard withAddress(port: port, { Glibc.connect(descriptor, $0, $1) }) == 0 else {
      close(descriptor)
      return nil
    }
    return descriptor
  }

  private static func withAddress(port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }
}
