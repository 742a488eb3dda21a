import Foundation
import PaasbusRedis
import TestSupport

/// How a server is reached.
enum Link: Sendable {
  case unixSocket(path: String)
  case loopback(port: Int)

  var name: String {
    switch self {
    case .unixSocket: "Unix socket"
    case .loopback: "TCP"
    }
  }

  var url: String {
    switch self {
    case .unixSocket(let path): "unix://\(path)"
    case .loopback(let port): "redis://127.0.0.1:\(port)"
    }
  }

  var connector: RedisConnector {
    switch self {
    case .unixSocket(let path):
      RedisConnector(endpoint: RedisEndpoint(address: .unixSocket(path: path)))
    case .loopback(let port):
      RedisConnector(
        endpoint: RedisEndpoint(address: .tcp(RedisEndpoint.Host(name: "127.0.0.1", port: port))))
    }
  }

  /// A command line of redis-cli.
  func redisCLI(_ words: String...) -> [String] {
    switch self {
    case .unixSocket(let path): ["redis-cli", "-s", path] + words
    case .loopback(let port): ["redis-cli", "-h", "127.0.0.1", "-p", "\(port)"] + words
    }
  }

  /// A socket that listens there.
  func listen() throws -> Int32 {
    switch self {
    case .unixSocket(let path):
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
      return try Self.listen(AF_UNIX, &address)
    case .loopback(let port):
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = in_port_t(truncatingIfNeeded: port).bigEndian
      address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
      return try Self.listen(AF_INET, &address)
    }
  }

  private static func listen<Address>(_ family: Int32, _ address: inout Address) throws -> Int32 {
    let descriptor = socket(family, Int32(SOCK_STREAM.rawValue), 0)
    let isBound = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<Address>.size)) == 0
      }
    }
    guard isBound, Foundation.listen(descriptor, 16) == 0 else { throw POSIXError(.EADDRINUSE) }
    return descriptor
  }
}
