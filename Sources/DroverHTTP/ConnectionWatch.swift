// Holds one connection to its deadlines, so that no client keeps one by being slow. The deadlines are absolute: a byte now and then extends none of them.

import NIOCore
import NIOHTTPTypes
import NIOSSL

final class ConnectionWatch: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  /// How long a request's head may take: from the opening of the connection, the TLS handshake included, or from the answer before. As long may
  /// an answer take that goes to a client without a known token.
  static let headPatience = TimeAmount.seconds(5)

  private let connections: Connections
  private let patience: TimeAmount
  private var unanswered = 0
  private var deadline: Scheduled<Void>?

  /// - Parameter patience: how long a client with a known token may take nothing of its answer.
  init(_ connections: Connections, patience: Duration) {
    self.connections = connections
    self.patience = TimeAmount(patience)
  }

  func handlerAdded(context: ChannelHandlerContext) {
    connections.open(context.channel)
    armForHead(context)
  }

  func handlerRemoved(context: ChannelHandlerContext) { end(context) }

  func channelInactive(context: ChannelHandlerContext) {
    end(context)
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .head = unwrapInboundIn(data) {
      if unanswered == 0 { armForHead(context) }
      unanswered += 1
    }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard case .end = unwrapOutboundIn(data) else { return context.write(data, promise: promise) }
    let written = promise ?? context.eventLoop.makePromise()
    let box = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
    written.futureResult.whenSuccess { box.value.handler.answered(box.value.context) }
    context.write(data, promise: written)
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if connections.isServing(context.channel) { watchReader(context) }
    context.fireChannelWritabilityChanged()
  }

  private func answered(_ context: ChannelHandlerContext) {
    unanswered -= 1
    guard unanswered == 0 else { return }
    // It got the answer that there is no place for it.
    guard connections.admission(of: context.channel) != nil else { return context.channel.cutOff() }
    connections.answered(context.channel)
    armForHead(context)
  }

  private func armForHead(_ context: ChannelHandlerContext) {
    arm(Self.headPatience, context) { handler, context in
      // The gate limits how long a request with a known token may take; what it writes has a reader to wait for.
      guard handler.connections.isServing(context.channel) else { return context.channel.cutOff() }
      handler.watchReader(context)
    }
  }

  private func watchReader(_ context: ChannelHandlerContext) {
    disarm()
    if !context.channel.isWritable { arm(patience, context) { $1.channel.cutOff() } }
  }

  private func arm(
    _ time: TimeAmount, _ context: ChannelHandlerContext,
    _ expired: @escaping (ConnectionWatch, ChannelHandlerContext) -> Void
  ) {
    disarm()
    let box = NIOLoopBound((handler: self, context: context, expired: expired), eventLoop: context.eventLoop)
    deadline = context.eventLoop.scheduleTask(in: time) { box.value.expired(box.value.handler, box.value.context) }
  }

  private func disarm() {
    deadline?.cancel()
    deadline = nil
  }

  private func end(_ context: ChannelHandlerContext) {
    disarm()
    connections.close(context.channel)
  }
}

extension Channel {
  /// Closes the connection at once. TLS would first wait some seconds for the client to agree.
  func cutOff() {
    eventLoop.execute { [self] in
      if let tls = try? pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self) {
        tls.close(promise: nil)
      } else {
        close(promise: nil)
      }
    }
  }
}
