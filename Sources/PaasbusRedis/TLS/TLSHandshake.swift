import NIOCore
import NIOSSL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What a connection needs for its encryption.
struct TLSHandshake: Sendable {
  private let context: NIOSSLContext
  private let serverName: String?
  private let isVerifying: Bool

  init(_ connector: RedisConnector) throws {
    guard let tls = connector.tls ?? RedisTLS.usual else {
      throw NIOSSLError.noSuchFilesystemObject
    }
    context = try tls.context(verifying: connector.verifiesServer)
    serverName = connector.endpoint.hostName
    isVerifying = connector.verifiesServer
  }

  /// Adds the encryption to a new channel. To be called on its event loop.
  ///
  /// - Returns: the handler that notes whether the server takes part in the handshake.
  func begin(on channel: any Channel) throws -> TLSRecords {
    let records = TLSRecords()
    let pipeline = channel.pipeline.syncOperations
    try pipeline.addHandler(records)
    try pipeline.addHandler(handler())
    return records
  }

  private func handler() throws -> NIOSSLClientHandler {
    guard let serverName, let name = ServerName(serverName) else {
      // An address must not be sent as a name (SNI); the certificate is checked against the
      // address.
      return try NIOSSLClientHandler(context: context, serverHostname: nil)
    }
    guard isVerifying else {
      return try NIOSSLClientHandler(context: context, serverHostname: serverName)
    }
    return try NIOSSLClientHandler._makeSSLClientHandler(
      context: context, serverHostname: serverName
    ) { certificate, channel in
      name.isNamed(by: certificate)
        ? channel.eventLoop.makeSucceededVoidFuture()
        : channel.eventLoop.makeFailedFuture(RedisError(.tls(.otherName)))
    }
  }
}

/// Notes whether a server takes part in a handshake at all, which the library does not tell. A
/// server that ends the handshake at once has no algorithm in common with us; one that ends it
/// later may require a certificate from us.
///
/// Lives on the event loop; everything here runs there.
final class TLSRecords: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  /// The type of a record with a part of the handshake (RFC 8446, 5.1).
  private static let handshake: UInt8 = 22

  private(set) var hasBegun = false
  private var isFirst = true

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if isFirst {
      let buffer = unwrapInboundIn(data)
      hasBegun = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) == Self.handshake
      isFirst = false
    }
    context.fireChannelRead(data)
  }
}

extension RedisConnector {
  /// Whether the server's certificate is checked.
  public var verifiesServer: Bool {
    !endpoint.skipsTLSVerification && tls?.options.skipsVerification != true
  }

  /// The same error, with what can be found out about its cause.
  func explained(_ error: RedisError) async -> RedisError {
    switch error.cause {
    case .tls(.untrusted): RedisError(.tls(await distrust()))
    case .tls(.noAnswer) where await speaksPlainly(): RedisError(.tls(.notTLS))
    case .tls(.certificateWanted) where tls?.presentsCertificate == true:
      RedisError(.tls(.certificateRefused))
    default: error
    }
  }

  /// Whether the server answers without TLS. A Redis without TLS takes the handshake for an
  /// incomplete command and does not answer. Nothing secret is sent here.
  private func speaksPlainly() async -> Bool {
    var plain = self
    plain.endpoint.usesTLS = false
    plain.timeout = min(timeout, .seconds(1))
    guard let connection = try? await plain.open() else { return false }
    let replies = try? await connection.pipeline([RedisCommand("PING")])
    await connection.close()
    return replies != nil
  }

  /// Why a certificate is not trusted, which the handshake does not tell. So this connects without
  /// a check, looks at the certificate, and sends nothing secret.
  private func distrust() async -> TLSFailure {
    var blind = self
    blind.endpoint.skipsTLSVerification = true
    let known = (tls ?? RedisTLS.usual)?.hasSystemAuthorities == true
    let untrusted = known ? TLSFailure.untrusted : .withoutAuthorities
    guard let connection = try? await blind.open() else { return untrusted }
    _ = try? await connection.pipeline([RedisCommand("PING")])
    let found = try? await connection.channel.nioSSL_peerCertificate().get()
    await connection.close()
    guard let certificate = found else { return untrusted }
    if certificate.notValidAfter < time(nil) { return .expired }
    return certificate.notValidBefore > time(nil) ? .notYetValid : untrusted
  }
}
