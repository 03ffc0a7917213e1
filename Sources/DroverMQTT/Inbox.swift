// What the library's callbacks leave for the loop. A callback copies bytes, appends to one of these arrays and returns;
// everything else happens after `mosquitto_loop_read` has come back.

import CMosquitto
import DroverCore
import Glibc

/// Filled by callbacks, which run inside library calls on the thread that owns the connection; emptied by that thread.
final class Inbox {
  struct Connack {
    let code: UInt8
    let sessionPresent: Bool
    let maximumPacketSize: Int?
    /// False where the broker says that it has none. [MQTT 5, 3.2.2.3.13]
    let hasSharedSubscriptions: Bool
    /// Whether it keeps retained messages, and the highest QoS that it takes. [MQTT 5, 3.2.2.3.5 and 3.2.2.3.4]
    let keepsRetained: Bool
    let maximumQoS: Int
  }

  /// Counts callbacks that told of a packet: the loop reads on while this rises.
  private(set) var packets = 0
  private(set) var connack: Connack?
  /// SUBACK codes by packet ID.
  private(set) var subacks: [Int32: UInt8] = [:]
  private(set) var messages: [InboundMessage] = []
  private(set) var messageBytes = 0
  private(set) var acknowledgements: [(token: PublishToken, reason: AcknowledgementReason)] = []
  /// The reason of the broker's DISCONNECT.
  private(set) var disconnect: UInt8?
  /// The library's complaints, the first few, while its log is listened to. They say more than its error codes.
  private(set) var complaints: [String] = []
  /// A QoS 1 message came that was no repetition. Repetitions come first after CONNACK and never later
  /// [MQTT-4.4.0-1], so there is no more to learn from the log.
  private(set) var hasFreshMessage = false

  /// How the library's log line begins that tells of a repeated message: the callback itself is not told of DUP.
  private let duplicateLine: [CChar]
  private var isNextDuplicate = false

  init(clientID: String) {
    duplicateLine = Array("Client \(clientID) received PUBLISH (d1".utf8CString.dropLast())
  }

  func takeMessages() -> [InboundMessage] {
    defer {
      messages = []
      messageBytes = 0
    }
    return messages
  }

  func takeAcknowledgements() -> [(token: PublishToken, reason: AcknowledgementReason)] {
    defer { acknowledgements = [] }
    return acknowledgements
  }

  /// Sets every callback; `mosq` was made with an unretained pointer to this object.
  func listen(to mosq: OpaquePointer) {
    mosquitto_connect_v5_callback_set(mosq) { _, inbox, code, flags, properties in
      Inbox.at(inbox).connected(code: code, flags: flags, properties: properties)
    }
    mosquitto_subscribe_v5_callback_set(mosq) { _, inbox, packetID, count, codes, _ in
      Inbox.at(inbox).subscribed(packetID: packetID, codes: UnsafeBufferPointer(start: codes, count: Int(count)))
    }
    mosquitto_message_v5_callback_set(mosq) { _, inbox, message, properties in
      Inbox.at(inbox).received(message!.pointee, properties: properties)
    }
    mosquitto_publish_v5_callback_set(mosq) { _, inbox, packetID, code, _ in
      Inbox.at(inbox).acknowledged(packetID: packetID, code: code)
    }
    mosquitto_disconnect_v5_callback_set(mosq) { _, inbox, code, _ in
      Inbox.at(inbox).disconnected(code: code)
    }
    mosquitto_log_callback_set(mosq) { _, inbox, level, line in
      Inbox.at(inbox).logged(level: level, line: line!)
    }
  }

  private static func at(_ pointer: UnsafeMutableRawPointer?) -> Inbox {
    Unmanaged<Inbox>.fromOpaque(pointer!).takeUnretainedValue()
  }

  private func connected(code: Int32, flags: Int32, properties: OpaquePointer?) {
    packets += 1
    var size: UInt32 = 0
    let hasSize =
      mosquitto_property_read_int32(properties, Int32(MQTT_PROP_MAXIMUM_PACKET_SIZE.rawValue), &size, false) != nil
    var isShared: UInt8 = 1
    mosquitto_property_read_byte(properties, Int32(MQTT_PROP_SHARED_SUB_AVAILABLE.rawValue), &isShared, false)
    var keepsRetained: UInt8 = 1
    mosquitto_property_read_byte(properties, Int32(MQTT_PROP_RETAIN_AVAILABLE.rawValue), &keepsRetained, false)
    var maximumQoS: UInt8 = 2
    mosquitto_property_read_byte(properties, Int32(MQTT_PROP_MAXIMUM_QOS.rawValue), &maximumQoS, false)
    connack = Connack(
      code: UInt8(truncatingIfNeeded: code), sessionPresent: flags & 1 != 0,
      maximumPacketSize: hasSize ? Int(size) : nil, hasSharedSubscriptions: isShared != 0,
      keepsRetained: keepsRetained != 0, maximumQoS: Int(maximumQoS))
  }

  private func subscribed(packetID: Int32, codes: UnsafeBufferPointer<Int32>) {
    packets += 1
    subacks[packetID] = UInt8(truncatingIfNeeded: codes.first ?? 0x80)
  }

  private func received(_ message: mosquitto_message, properties: OpaquePointer?) {
    packets += 1
    let payload = [UInt8](UnsafeRawBufferPointer(start: message.payload, count: Int(message.payloadlen)))
    let topic = String(cString: message.topic)
    var type: UnsafeMutablePointer<CChar>?
    mosquitto_property_read_string(properties, Int32(MQTT_PROP_CONTENT_TYPE.rawValue), &type, false)
    defer { free(type) }
    messages.append(
      InboundMessage(
        topic: topic, payload: payload, isRetained: message.retain, isDuplicate: isNextDuplicate,
        contentType: type.map { String(cString: $0) }))
    messageBytes += topic.utf8.count + payload.count
    if message.qos > 0, !isNextDuplicate { hasFreshMessage = true }
    isNextDuplicate = false
  }

  private func acknowledged(packetID: Int32, code: Int32) {
    packets += 1
    acknowledgements.append(
      (PublishToken(rawValue: packetID), AcknowledgementReason(code: UInt8(truncatingIfNeeded: code))))
  }

  /// Also called when the library itself closes the socket; then the code is one of its own and means nothing here,
  /// and the loop call that led to it says more. A DISCONNECT packet comes first, with a reason from 0x80 on, or 0.
  private func disconnected(code: Int32) {
    packets += 1
    if disconnect == nil, code >= 0x80 { disconnect = UInt8(truncatingIfNeeded: code) }
  }

  private func logged(level: Int32, line: UnsafePointer<CChar>) {
    if level == MOSQ_LOG_DEBUG {
      if strncmp(line, duplicateLine, duplicateLine.count) == 0 { isNextDuplicate = true }
    } else if level == MOSQ_LOG_ERR, complaints.count < 4 {
      complaints.append(String(cString: line))
    }
  }
}
