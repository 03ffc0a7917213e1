// One connection, from the CONNECT to its end, on one `struct mosquitto` that is never connected a second time: so the
// library has nothing to send again by itself, and holds at most what was published since CONNACK.
//
// Acknowledging rests on what libmosquitto 2.0 does rather than on a promise of its manual: it queues the PUBACK of a
// message before it calls back, and with `mosquitto_threaded_set` a queued packet leaves only in `mosquitto_loop_write`.
// A test pins it. So `write` refuses to run while messages wait to be handed over.

import CMosquitto
import DroverCore
import Glibc
import Synchronization

final class MosquittoConnection: Publisher {
  let options: MQTTOptions
  let level: ProtocolLevel
  let inbox: Inbox
  /// nil once closed. "libmosquitto provides thread safe operation" (its manual), but no call here relies on that: one
  /// thread at a time owns the connection.
  private var mosq: OpaquePointer?
  /// The filters that wait for their SUBACK, by packet ID.
  private var subscribing: [Int32: String] = [:]
  /// PUBLISH packets without a PUBACK.
  private(set) var unacknowledged = 0
  private var isOpen = false
  private var isLeaving = false
  private var hearsLog = true

  /// Prepares a connection; nothing is sent.
  init(options: MQTTOptions, level: ProtocolLevel) throws(SessionEnd) {
    Self.initializeLibrary
    self.options = options
    self.level = level
    batchMessages = options.batchMessages
    inbox = Inbox(clientID: options.clientID)
    guard let mosq = mosquitto_new(options.clientID, false, Unmanaged.passUnretained(inbox).toOpaque()) else {
      throw .unusable("libmosquitto takes no client with the ID \(options.clientID): \(errorText(errno))")
    }
    self.mosq = mosq
    inbox.listen(to: mosq)
    mosquitto_threaded_set(mosq, true)
    mosquitto_int_option(mosq, MOSQ_OPT_PROTOCOL_VERSION, Int32(level.rawValue))
    mosquitto_int_option(mosq, MOSQ_OPT_TCP_NODELAY, 1)
    mosquitto_int_option(mosq, MOSQ_OPT_RECEIVE_MAXIMUM, Int32(options.receiveMaximum))
    mosquitto_int_option(mosq, MOSQ_OPT_SEND_MAXIMUM, Int32(options.sendMaximum))
    try setCredentials(mosq)
    try setWill(mosq)
    try setTLS(mosq)
  }

  deinit { close() }

  /// The library's only global state. It sets SIGPIPE to "ignored" for the whole process in each `mosquitto_new`
  /// (it writes with plain write(2), and so does OpenSSL); here it is done once, in the open.
  static let initializeLibrary: Void = {
    signal(SIGPIPE, SIG_IGN)
    mosquitto_lib_init()
  }()

  private func setCredentials(_ mosq: OpaquePointer) throws(SessionEnd) {
    guard options.username != nil || options.password != nil else { return }
    let code = mosquitto_username_pw_set(mosq, options.username, options.password?.reveal())
    guard code == MOSQ_ERR_SUCCESS.rawValue else {
      throw .unusable("libmosquitto does not take the user name and the password: \(libraryText(code))")
    }
  }

  private func setWill(_ mosq: OpaquePointer) throws(SessionEnd) {
    guard let will = options.will else { return }
    // The library would cut the length to 16 bits and the packet to pieces. [MQTT-3.1.3.4]
    guard will.payload.count <= 65_535 else {
      throw .unusable("the will on \(will.topic) is larger than 65,535 bytes")
    }
    var properties = propertyList(of: will)
    let code = mosquitto_will_set_v5(
      mosq, will.topic, Int32(will.payload.count), will.payload, 1, will.isRetained, properties)
    guard code == MOSQ_ERR_SUCCESS.rawValue else {
      // "On success only, the property list becomes the property of libmosquitto."
      mosquitto_property_free_all(&properties)
      throw .unusable("libmosquitto does not take the will on \(will.topic): \(libraryText(code))")
    }
  }

  private func setTLS(_ mosq: OpaquePointer) throws(SessionEnd) {
    guard let tls = options.tls else { return }
    for file in [tls.caFile, tls.certificateFile, tls.keyFile].compactMap(\.self) {
      guard access(file, R_OK) == 0 else { throw .unusable("cannot read \(file): \(errorText(errno))") }
    }
    if tls.caFile == nil { mosquitto_int_option(mosq, MOSQ_OPT_TLS_USE_OS_CERTS, 1) }
    guard tls.caFile != nil || tls.certificateFile != nil else { return }
    // With the system's CAs and a certificate of our own the library wants a folder of CAs named; OpenSSL looks into it
    // besides its own. An encrypted key gets an empty password: OpenSSL would ask for one on the terminal.
    let folder = tls.caFile == nil ? "/etc/ssl/certs" : nil
    let code = mosquitto_tls_set(mosq, tls.caFile, folder, tls.certificateFile, tls.keyFile) { _, _, _, _ in 0 }
    guard code == MOSQ_ERR_SUCCESS.rawValue else {
      throw .unusable("libmosquitto does not take the TLS files: \(libraryText(code))")
    }
  }

  // MARK: - Opening

  /// Finds the address, connects and queues CONNECT and every SUBSCRIBE. Blocks in getaddrinfo(3) and connect(2), for
  /// minutes at worst.
  ///
  /// The SUBSCRIBEs do not wait for CONNACK; a client may do that [MQTT 5, 3.1.4]. It has to be so here: right after
  /// CONNACK the broker delivers what it kept for the session, and a SUBSCRIBE that was queued behind the PUBACKs of
  /// those messages could not leave before they do.
  func connect() throws(SessionEnd) {
    guard let mosq else { throw .lost("closed") }
    let (code, cause) = connectBlocking(mosq)
    switch code {
    case MOSQ_ERR_SUCCESS.rawValue: break
    case MOSQ_ERR_EAI.rawValue: throw .unresolved(String(cString: gai_strerror(cause)))
    case MOSQ_ERR_ERRNO.rawValue: throw .unreachable(cause)
    case MOSQ_ERR_TLS.rawValue: throw .tls(complaint ?? libraryText(code))
    default: throw .unusable(libraryText(code))
    }
    for subscription in options.subscriptions {
      var packetID: Int32 = 0
      let noLocal = subscription.noLocal ? Int32(MQTT_SUB_OPT_NO_LOCAL.rawValue) : 0
      let code = mosquitto_subscribe_v5(mosq, &packetID, subscription.filter, 1, noLocal, nil)
      guard code == MOSQ_ERR_SUCCESS.rawValue else {
        throw .unusable("the subscription to \(subscription.filter) is none: \(libraryText(code))")
      }
      subscribing[packetID] = subscription.filter
    }
  }

  private func connectBlocking(_ mosq: OpaquePointer) -> (code: Int32, errno: Int32) {
    var properties: OpaquePointer?
    defer { mosquitto_property_free_all(&properties) }
    if level == .mqtt5 {
      let seconds = UInt32(clamping: options.sessionExpiry.components.seconds)
      mosquitto_property_add_int32(&properties, Int32(MQTT_PROP_SESSION_EXPIRY_INTERVAL.rawValue), seconds)
    }
    let keepAlive = Int32(min(max(options.keepAlive.components.seconds, 5), 65_535))
    let attempt = {
      let code = mosquitto_connect_bind_v5(
        mosq, self.options.host, Int32(self.options.port), keepAlive, nil, properties)
      return (code, errno)
    }
    guard options.tls != nil else { return attempt() }
    // `net__init_tls` runs in the first TLS connection of the process and guards its globals with nothing.
    return Self.isTLSInitialized.withLock { isInitialized in
      guard !isInitialized else { return nil }
      let result = attempt()
      isInitialized = result.0 == MOSQ_ERR_SUCCESS.rawValue
      return result
    } ?? attempt()
  }

  private static let isTLSInitialized = Mutex(false)

  /// How far the opening has come, as far as the packets say that were read so far.
  func opening() throws(SessionEnd) -> SessionInfo? {
    guard let connack = inbox.connack else { return nil }
    guard connack.code == 0 else { throw .refused(code: connack.code, level) }
    guard connack.hasSharedSubscriptions || !options.needsMQTT5 else { throw .noSharedSubscriptions }
    try checkSubscriptions()
    guard subscribing.isEmpty || maySubackWait && holdsBatch else { return nil }
    isOpen = true
    // A session that is new holds no message that could be a repetition.
    if !connack.sessionPresent { ignoreLog() }
    return SessionInfo(
      sessionPresent: connack.sessionPresent, protocolLevel: level.rawValue,
      maximumPacketSize: connack.maximumPacketSize, keepsRetained: connack.keepsRetained,
      maximumQoS: connack.maximumQoS)
  }

  /// Looks at the SUBACKs that have come.
  func checkSubscriptions() throws(SessionEnd) {
    guard !subscribing.isEmpty else { return }
    for (packetID, filter) in subscribing {
      guard let code = inbox.subacks[packetID] else { continue }
      guard code != MQTT_RC_SHARED_SUBS_NOT_SUPPORTED.rawValue else { throw .noSharedSubscriptions }
      guard code < 0x80 else { throw .subscriptionRefused(filter: filter, code: code) }
      subscribing[packetID] = nil
    }
  }

  /// A session that goes on has its subscriptions, and its messages come before the SUBACKs.
  private var maySubackWait: Bool { inbox.connack?.sessionPresent ?? false }

  // MARK: - Living

  var socket: Int32? { mosq.map { mosquitto_socket($0) }.flatMap { $0 >= 0 ? $0 : nil } }
  /// Asks for room in the socket only when `write` would use it.
  var wantsWrite: Bool { mayWrite && mosq.map { mosquitto_want_write($0) } ?? false }
  /// Not while the queue holds PUBACKs of messages that the handler has not taken.
  private var mayWrite: Bool { inbox.messages.isEmpty }

  /// Messages of a batch.
  var batchMessages: Int

  /// Reads until the socket is empty or the inbox holds a batch. Returns whether there may be more to read without
  /// waiting for the socket.
  func read() throws(SessionEnd) -> Bool {
    guard let mosq else { throw .lost("closed") }
    defer { if hearsLog, inbox.hasFreshMessage { ignoreLog() } }
    while !isOpen && !maySubackWait || !holdsBatch {
      let before = inbox.packets
      try check(mosquitto_loop_read(mosq, 1))
      // As long as packets come, one more call: it may return early with decrypted bytes left inside OpenSSL, of which
      // poll(2) knows nothing. (It stops at errno EAGAIN, which also a full wake-up pipe of its own leaves behind.)
      guard inbox.packets == before else { continue }
      try checkForEnd()
      return false
    }
    return true
  }

  /// A new session holds no messages, so there SUBACK is not far.
  private var holdsBatch: Bool {
    inbox.messages.count >= batchMessages || inbox.messageBytes >= options.batchBytes
      || inbox.acknowledgements.count >= options.batchMessages
  }

  /// Sends what is queued, as far as the socket takes it: acknowledgements too. Does nothing while messages wait in the
  /// inbox.
  func write() throws(SessionEnd) {
    guard let mosq, wantsWrite else { return }
    try check(mosquitto_loop_write(mosq, 1))
  }

  /// PINGREQ and its answer.
  func keepAlive() throws(SessionEnd) {
    guard let mosq else { throw .lost("closed") }
    try check(mosquitto_loop_misc(mosq))
  }

  func takeAcknowledgements() -> [(token: PublishToken, reason: AcknowledgementReason)] {
    let taken = inbox.takeAcknowledgements()
    unacknowledged -= taken.count
    return taken
  }

  func publish(_ message: OutboundMessage) throws(PublishError) -> PublishToken {
    // Not even a call: without a connection the library says "no connection" and keeps the message all the same.
    guard isOpen, let mosq, socket != nil else { throw .notConnected }
    // Packet IDs have 16 bits, and the library does not look whether the next one is still in use.
    guard unacknowledged < 60_000 else {
      throw .failed(
        reason: "publish \(message.topic): 60,000 messages wait for the broker's PUBACK; publish fewer at once")
    }
    guard message.payload.count <= Int(MQTT_MAX_PAYLOAD) else { throw .tooLarge }
    // The library compares too, but leaves out the first byte of the packet, and keeps in its queue some of what it refuses.
    if let most = inbox.connack?.maximumPacketSize, packetSize(of: message) > most { throw .tooLarge }
    var properties = propertyList(of: message)
    defer { mosquitto_property_free_all(&properties) }
    var packetID: Int32 = 0
    let code = mosquitto_publish_v5(
      mosq, &packetID, message.topic, Int32(message.payload.count), message.payload, 1, message.isRetained, properties)
    switch code {
    case MOSQ_ERR_SUCCESS.rawValue:
      unacknowledged += 1
      return PublishToken(rawValue: packetID)
    case MOSQ_ERR_OVERSIZE_PACKET.rawValue, MOSQ_ERR_PAYLOAD_SIZE.rawValue: throw .tooLarge
    case MOSQ_ERR_NO_CONN.rawValue: throw .notConnected
    default: throw .failed(reason: "publish \(message.topic): \(libraryText(code))")
    }
  }

  // MARK: - Ending

  /// Queues DISCONNECT behind everything that is queued. When it has left, the library closes the socket. The broker
  /// then drops the will and keeps the session. [MQTT-3.14.4-3]
  func disconnect() {
    isOpen = false
    isLeaving = true
    if let mosq { mosquitto_disconnect_v5(mosq, 0, nil) }
  }

  /// Ends the connection at once; nothing that is queued leaves any more, above all no PUBACK.
  func close() {
    isOpen = false
    guard let mosq else { return }
    if let socket { shutdown(socket, Int32(SHUT_RDWR)) }
    mosquitto_destroy(mosq)
    self.mosq = nil
  }

  private func ignoreLog() {
    hearsLog = false
    if let mosq { mosquitto_log_callback_set(mosq, nil) }
  }

  /// What the library said when it failed, without the names of OpenSSL's functions.
  private var complaint: String? {
    let lines = inbox.complaints.map { line in
      line.hasPrefix("OpenSSL Error") ? String(line.split(separator: ":").last ?? "") : line
    }
    return lines.isEmpty ? nil : lines.joined(separator: ", ")
  }

  /// Turns a result of the loop functions into the end that it means.
  private func check(_ code: Int32) throws(SessionEnd) {
    let cause = errno
    // After a DISCONNECT packet the library closes the socket and reports success.
    if let reason = inbox.disconnect {
      throw reason == MQTT_RC_SHARED_SUBS_NOT_SUPPORTED.rawValue ? .noSharedSubscriptions : .disconnected(reason)
    }
    guard code != MOSQ_ERR_SUCCESS.rawValue else {
      guard socket != nil || isLeaving else { throw closedByPeer }
      return
    }
    if let connack = inbox.connack, connack.code != 0 { throw .refused(code: connack.code, level) }
    if options.tls != nil, let complaint {
      // OpenSSL 3's words for a peer that closed without a close_notify.
      throw complaint.contains("unexpected eof") ? closedByPeer : .tls(complaint)
    }
    switch code {
    case MOSQ_ERR_CONN_LOST.rawValue: throw closedByPeer
    case MOSQ_ERR_ERRNO.rawValue where cause == EPIPE || cause == ECONNRESET: throw closedByPeer
    case MOSQ_ERR_ERRNO.rawValue: throw .lost(errorText(cause))
    case MOSQ_ERR_KEEPALIVE.rawValue:
      throw inbox.connack == nil ? .noAnswer(within: options.keepAlive) : .silent
    case MOSQ_ERR_TLS.rawValue: throw .tls(libraryText(code))
    case MOSQ_ERR_PROTOCOL.rawValue, MOSQ_ERR_MALFORMED_PACKET.rawValue, MOSQ_ERR_CONN_REFUSED.rawValue:
      // An answer that is no MQTT 5 at all comes from a broker that does not know it.
      throw inbox.connack == nil && level == .mqtt5 ? .refused(code: 0x84, level) : .protocolError(libraryText(code))
    default: throw .lost(libraryText(code))
    }
  }

  /// During the TLS handshake the library takes the peer's hanging up for "call again": look for ourselves.
  private func checkForEnd() throws(SessionEnd) {
    guard let socket else { throw closedByPeer }
    var byte: UInt8 = 0
    let count = recv(socket, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
    let cause = errno
    if count == 0 || count < 0 && cause == ECONNRESET { throw closedByPeer }
    if count < 0, cause != EAGAIN, cause != EINTR { throw .lost(errorText(cause)) }
  }

  private var closedByPeer: SessionEnd {
    inbox.connack == nil
      ? .closedBeforeConnack
      : .lost("the broker closed it (a restart, or another client with the ID \(options.clientID)?)")
  }

  /// The bytes of a PUBLISH packet of MQTT 5 at QoS 1, all of them. [MQTT 5, 2.1.4 and 3.3]
  private func packetSize(of message: OutboundMessage) -> Int {
    let properties = message.contentType.map { 3 + $0.utf8.count } ?? 0
    let remaining =
      2 + message.topic.utf8.count + 2 + lengthBytes(properties) + properties + message.payload.count
    return 1 + lengthBytes(remaining) + remaining
  }

  /// Bytes of a variable byte integer. [MQTT 5, 1.5.5]
  private func lengthBytes(_ number: Int) -> Int {
    number < 1 << 7 ? 1 : number < 1 << 14 ? 2 : number < 1 << 21 ? 3 : 4
  }

  /// The MQTT 5 properties of a message; nil with 3.1.1, which has none.
  private func propertyList(of message: OutboundMessage) -> OpaquePointer? {
    guard level == .mqtt5, let contentType = message.contentType else { return nil }
    var properties: OpaquePointer?
    mosquitto_property_add_string(&properties, Int32(MQTT_PROP_CONTENT_TYPE.rawValue), contentType)
    return properties
  }
}

private func libraryText(_ code: Int32) -> String { String(cString: mosquitto_strerror(code)) }
private func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }
