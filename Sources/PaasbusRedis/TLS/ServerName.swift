import NIOCore
import NIOSSL

/// The name under which we connect to a server, compared with those in its certificate (RFC 6125,
/// 6.4).
///
/// The TLS library compares them too, but also accepts a certificate for the address to which it
/// has connected, and a bare `*`. An attacker that can forge the address of a name would then only
/// need a certificate for the attacker's own address.
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

  /// Whether a certificate is for this name. A certificate without alternative names is left to the
  /// library.
  func isNamed(by certificate: NIOSSLCertificate) -> Bool {
    let names = certificate._subjectAlternativeNames()
    guard !names.isEmpty else { return true }
    return names.contains { name in
      guard name.nameType == .dnsName else { return false }
      return matches(name.contents.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) })
    }
  }

  /// A `*` stands for one whole label before at least two others.
  func matches(_ pattern: String) -> Bool {
    let pattern = Self.labels(pattern)
    guard pattern.count == labels.count else { return false }
    guard pattern.first == "*" else { return pattern == labels }
    return pattern.count > 2 && pattern.dropFirst() == labels.dropFirst()
  }
}
