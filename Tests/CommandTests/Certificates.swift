import Foundation
import TestSupport
import Testing

/// Certificates of all kinds, and servers that show them.
enum Certificates {
  /// Puts them into a folder: an authority with one below it, and certificates of the authority below for localhost,
  /// for another name, expired, for a client, and one that is signed by itself.
  static func make(_ folder: URL) async throws {
    for (name, content) in try await made.value {
      try content.write(to: folder.appending(path: name))
    }
  }

  /// By name. Making keys takes long, so it is done once for all tests.
  private static let made = Task {
    let folder = FileManager.default.temporaryDirectory.appending(path: "paasbus-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try await fill(folder)
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    return try Dictionary(
      uniqueKeysWithValues: names.map { ($0, try Data(contentsOf: folder.appending(path: $0))) })
  }

  private static func fill(_ folder: URL) async throws {
    let script = """
      set -e
      openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=root -keyout root.key -out root.pem
      sign() {  # NAME SUBJECT SIGNER DAYS EXTENSIONS
        openssl req -newkey ${key:-rsa:2048} -nodes -subj "/CN=$2" -keyout $1.key -out $1.csr
        printf "$5" > $1.names
        openssl x509 -req -in $1.csr -CA $3.pem -CAkey $3.key -CAcreateserial -days $4 \
          -extfile $1.names -out $1.pem
      }
      sign middle middle root 2 'basicConstraints=critical,CA:TRUE'
      sign good localhost middle 2 'subjectAltName=DNS:localhost,IP:127.0.0.1'
      sign other other.example middle 2 'subjectAltName=DNS:other.example'
      sign client client root 2 'extendedKeyUsage=clientAuth'
      (export LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 FAKETIME=-30d
       sign expired localhost middle 5 'subjectAltName=DNS:localhost')
      sign address other.example middle 2 'subjectAltName=DNS:other.example,IP:127.0.0.1'
      sign star localhost middle 2 'subjectAltName=DNS:*'
      key='ed25519' sign ed25519 localhost middle 2 'subjectAltName=DNS:localhost'
      key='ec -pkeyopt ec_paramgen_curve:P-521' \\
        sign p521 localhost middle 2 'subjectAltName=DNS:localhost'
      openssl genpkey -genparam -algorithm DH -pkeyopt group:ffdhe2048 -out dh.pem
      for name in good other expired ed25519 p521 address star; do cat $name.pem middle.pem > $name.chain; done
      openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout own.key -out own.chain
      """
    let process = try ManagedProcess("/bin/bash", ["-c", "cd \(folder.path) && \(script)"])
    // Making keys takes long where all processors are busy.
    #expect(
      try await process.exitStatus(within: .seconds(120)) == 0, "\(process.errorOutput)")
  }

  /// Runs `body` with a server that shows a certificate; its URL and a file of the folder.
  static func withServer(
    _ certificate: String, options: [String] = [],
    _ body: (RedisServer, String, (String) -> String) async throws -> Void
  ) async throws {
    let port = try RedisServer.freePort()
    let tls = [
      "--tls-port", "\(port)", "--tls-cert-file", "FOLDER/\(certificate).chain", "--tls-key-file",
      "FOLDER/\(certificate).key", "--tls-ca-cert-file", "FOLDER/root.pem",
    ]
    let all = tls + (options.isEmpty ? ["--tls-auth-clients", "no"] : options)
    try await RedisServer.with(usesTCP: true, options: all, prepare: Certificates.make) {
      server in
      try await body(server, "rediss://localhost:\(port)") {
        server.folder.appending(path: $0).path
      }
    }
  }
}
