import NIOCore
import NIOSSL

/// The name by which a server is asked for, compared with those in its certificate (RFC 6125, 6.4).
///
/// The TLS library compares them too, but also accepts a certificate for the very address that it has
/// connected to, and a bare `*`: whoever can lie about a name's address would then need no more than a
/// certificate for an address of their own.
struct ServerName: Sendable {
  private let labels: [String]

  /// nil for an address, which is compared with addresses alone.
  init?(_ host: String) {
    guard (try? SocketAddress(ipAddress: host, port: 0)) == nil else { return nil }
    labels = Self.labels(host)
  }

  private static func labels(_ name: String) -> [String] {
    let rooted = name.lowercased()
    return (rooted.hasSuffix(".") ? String(rooted.dropLast()) : rooted)
      .split(separator: ".", omittingEmptySubsequences: false).map(String.init)
  }

  /// Whether a certificate is for this name. One without alternative names is left to the library.
  func isNamed(by certificate: NIOSSLCertificate) -> Bool {
    let names = certificate._subjectAlternativeNames()
    guard !names.isEmpty else { return true }
    return names.contains { name in
      guard name.nameType == .dnsName else { return false }
      return matches(name.contents.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) })
    }
  }

  /// A `*` stands for one whole label, in front of at least two others.
  func matches(_ pattern: String) -> Bool {
    let pattern = Self.labels(pattern)
    guard pattern.count == labels.count else { return false }
    guard pattern.first == "*" else { return pattern == labels }
    return pattern.count > 2 && pattern.dropFirst() == labels.dropFirst()
  }
}
