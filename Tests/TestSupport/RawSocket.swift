import Foundation
import NIOCore
import NIOPosix

/// A TCP or Unix connection on which a test says exactly what it wants, and sees exactly what comes.
package final class RawSocket: Sendable {
  private final class Collector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let owner: Mutable<State>

    init(_ owner: Mutable<State>) { self.owner = owner }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let bytes = unwrapInboundIn(data)
      owner.update { $0.bytes += bytes.readableBytesView }
    }

    func channelInactive(context: ChannelHandlerContext) { owner.update { $0.isClosed = true } }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      context.close(promise: nil)
    }
  }

  private struct State: Sendable {
    var bytes: [UInt8] = []
    var isClosed = false
  }

  private static let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

  private let channel: any Channel
  private let state: Mutable<State>

  private init(_ channel: any Channel, _ state: Mutable<State>) {
    (self.channel, self.state) = (channel, state)
  }

  deinit { channel.close(promise: nil) }

  package static func connect(port: Int, host: String = "127.0.0.1") async throws -> RawSocket {
    try await connect { try await $0.connect(host: host, port: port).get() }
  }

  package static func connect(path: String) async throws -> RawSocket {
    try await connect { try await $0.connect(unixDomainSocketPath: path).get() }
  }

  private static func connect(
    _ connect: (ClientBootstrap) async throws -> any Channel
  ) async throws -> RawSocket {
    let state = Mutable(State())
    let bootstrap = ClientBootstrap(group: group).channelInitializer { channel in
      channel.eventLoop.makeCompletedFuture {
        try channel.pipeline.syncOperations.addHandler(Collector(state))
      }
    }
    return RawSocket(try await connect(bootstrap), state)
  }

  /// Sends; a connection that the other end has closed is no error.
  package func send(_ bytes: some Sequence<UInt8>) async {
    try? await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
  }

  package func send(_ text: String) async { await send(text.utf8) }

  /// Reads no more, so that the other end's writes pile up.
  package func stopReading() async { try? await channel.setOption(.autoRead, value: false).get() }

  /// Reads again.
  package func startReading() async { try? await channel.setOption(.autoRead, value: true).get() }

  package var bytes: [UInt8] { state.get().bytes }

  /// What has come since the last call; it is forgotten here.
  package func take() -> [UInt8] {
    var taken: [UInt8] = []
    state.update { state in
      taken = state.bytes
      state.bytes = []
    }
    return taken
  }

  /// How many bytes have come.
  package var count: Int { state.get().bytes.count }
  package var text: String { String(decoding: bytes, as: UTF8.self) }
  package var isClosed: Bool { state.get().isClosed }

  package func close() async { try? await channel.close().get() }

  /// Waits until the other end has closed the connection; returns all that it said.
  package func untilClosed(within limit: Duration = .seconds(30)) async throws -> String {
    try await eventually("the connection is closed", within: limit) { self.isClosed }
    return text
  }
}

extension RawSocket {
  /// The ids of the events on a stream so far, in order.
  package var eventIDs: [String] {
    text.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("id: ") }.map {
      String($0.dropFirst(4))
    }
  }

  /// How often an event of a type is on a stream so far.
  package func count(of type: String) -> Int {
    text.split(whereSeparator: \.isNewline).count { $0 == "event: \(type)" }
  }
}
