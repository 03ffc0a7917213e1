// One client without a token opened 400 connections and held all 200 of the server's, so that nobody else was answered (issue 14).

@testable import DroverHTTP
import NIOCore
import Testing

@Suite struct ConnectionSlotsTests {
  private func room(all: Int = 4, perAddress: Int = 3, reserve: Int = 1) -> ConnectionSlots {
    ConnectionSlots(.init(all: all, perAddress: perAddress, reserve: reserve))
  }

  @Test func `within its limits every connection is taken, and none is closed`() {
    var room = room()
    for address in ["a", "a", "a", "b"] {
      let (_, admission, closing) = room.open(from: address)
      #expect(admission == .full && closing == nil)
    }
  }

  @Test func `at the limit of its address a connection takes the place of the one that has waited longest`() {
    var room = room()
    let opened = (0..<3).map { _ in room.open(from: "a").id }
    for expected in opened {
      let (_, admission, closing) = room.open(from: "a")
      #expect(admission == .full && closing == expected)
    }
  }

  @Test
  func `a request with a known token keeps its connection, and the answer to it makes the connection the last to go`() {
    var room = room()
    let known = room.open(from: "a").id
    room.serve(known)
    let others = [room.open(from: "a").id, room.open(from: "a").id]
    #expect(room.open(from: "a").closing == others[0])
    room.answered(known)
    #expect(room.open(from: "a").closing == others[1])
  }

  @Test
  func
    `where all of an address are served, a connection more is for open paths alone, and the other addresses are not touched`()
  {
    var room = room()
    for _ in 0..<3 { room.serve(room.open(from: "a").id) }
    let first = room.open(from: "a")
    #expect(first.admission == .openPathsOnly && first.closing == nil)
    #expect(room.admission(first.id) == .openPathsOnly)
    // The reserve has one place.
    let second = room.open(from: "a")
    #expect(second.admission == .openPathsOnly && second.closing == first.id)
    #expect(room.open(from: "b").admission == .full)
  }

  @Test func `where all connections are served, the reserve still takes one from anywhere`() {
    var room = room()
    for address in ["a", "b", "c", "d"] { room.serve(room.open(from: address).id) }
    for address in ["a", "e"] { #expect(room.open(from: address).admission == .openPathsOnly) }
  }

  @Test func `where all are taken, the address with most connections gives one up`() {
    var room = room()
    let honest = room.open(from: "b").id
    let greedy = (0..<3).map { _ in room.open(from: "a").id }
    #expect(room.open(from: "c").closing == greedy[0])
    #expect(room.admission(honest) == .full)
  }

  @Test func `a connection that is closed leaves its place`() {
    var room = room(perAddress: 1)
    room.serve(room.open(from: "a").id)
    let second = room.open(from: "a")
    #expect(second.admission == .openPathsOnly)
    room.close(1)
    #expect(room.open(from: "a").admission == .full)
  }

  @Test func `a connection that has to go keeps its place when a request with a known token comes in time`() {
    var room = room(perAddress: 1)
    let (first, second) = (room.open(from: "a").id, room.open(from: "a").id)
    let third = room.open(from: "a")
    #expect(third.closing == second)
    room.serve(first)
    let isOver = [room.leave(first), room.leave(second)]
    #expect(isOver == [false, true])
    #expect(room.admission(first) == .full)
  }

  @Test(arguments: [
    ("10.1.2.3", "10.1.2.3"), ("::ffff:10.1.2.3", "10.1.2.3"), ("2001:db8:1:2:3:4:5:6", "20:1:d:b8:0:1:0:2"),
    ("2001:db8:1:2::9", "20:1:d:b8:0:1:0:2"), ("2001:db8:1:3::9", "20:1:d:b8:0:1:0:3"),
  ])
  func `an IPv4 address counts by itself, and an IPv6 address with its network`(address: String, client: String) throws
  {
    #expect(try SocketAddress(ipAddress: address, port: 1).client == client)
  }
}
