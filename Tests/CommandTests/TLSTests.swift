import Foundation
import TestSupport
import Testing

@Suite("TLS as providers have it")
struct TLSTests {
  /// An authority with one below it, and certificates: of the authority below for localhost, for
  /// another name, expired, for a client, and one that is signed by itself.
  private static func makeCertificates(_ folder: URL) async throws {
    let script = """
      set -e
      openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=root -keyout root.key -out root.pem
      sign() {  # NAME SUBJECT SIGNER DAYS EXTENSIONS
        openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout $1.key -out $1.csr
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
      for name in good other expired; do cat $name.pem middle.pem > $name.chain; done
      openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout own.key -out own.chain
      """
    let process = try ManagedProcess("/bin/bash", ["-c", "cd \(folder.path) && \(script)"])
    #expect(try await process.exitStatus() == 0, "\(process.errorOutput)")
  }

  /// Runs `body` with a server that shows a certificate; its URL and a file of the folder.
  private func withServer(
    _ certificate: String, options: [String] = [],
    _ body: (RedisServer, String, (String) -> String) async throws -> Void
  ) async throws {
    let port = try RedisServer.freePort()
    let tls = [
      "--tls-port", "\(port)", "--tls-cert-file", "FOLDER/\(certificate).chain", "--tls-key-file",
      "FOLDER/\(certificate).key", "--tls-ca-cert-file", "FOLDER/root.pem",
    ]
    let all = tls + (options.isEmpty ? ["--tls-auth-clients", "no"] : options)
    try await RedisServer.with(usesTCP: true, options: all, prepare: Self.makeCertificates) {
      server in
      try await body(server, "rediss://localhost:\(port)") {
        server.folder.appending(path: $0).path
      }
    }
  }

  private func expectRefusal(_ words: [String], _ status: Int32, says text: String) async throws {
    for command in ["watch", "list"] {
      let process = try Paasbus.start([command, "--timeout", "3s"] + words)
      #expect(try await process.exitStatus() == status, "\(words) \(process.errorOutput)")
      #expect(process.errorOutput.contains(text), "\(words) \(process.errorOutput)")
      #expect(process.errorLines.count == 1)
    }
    let doctor = try Paasbus.start(["doctor", "--timeout", "3s"] + words)
    #expect(try await doctor.exitStatus() == 1)
    #expect(doctor.lines.last?.hasPrefix("fail") == true && doctor.output.contains(text))
  }

  @Test("a chain is trusted with --tls-ca, by name and by address; nothing else is")
  func chain() async throws {
    try await withServer("good") { server, url, file in
      try await TransportTests.expectMainJob(["--url", url, "--tls-ca", file("root.pem")])
      try await server.command("FLUSHALL")
      let address = url.replacing("localhost", with: "127.0.0.1")
      try await TransportTests.expectMainJob(["--url", address, "--tls-ca", file("root.pem")])
      try await server.command("FLUSHALL")
      for words in [["--url", url, "--tls-insecure"], ["--url", url + "?tls=insecure"]] {
        try await TransportTests.expectMainJob(words)
        try await server.command("FLUSHALL")
      }
      try await expectRefusal(["--url", url], 78, says: "--tls-ca FILE, or skip")
      try await expectRefusal(["--url", url, "--tls-ca", "/none"], 78, says: "TLS files")
      let plain = server.port ?? 0
      try await expectRefusal(
        ["--url", "rediss://localhost:\(plain)"], 78, says: "use redis://")
      try await expectRefusal(
        ["--url", url.replacing("rediss", with: "redis")], 69, says: "use rediss://")
      let doctor = try Paasbus.start("doctor", "--url", url, "--tls-insecure")
      #expect(try await doctor.exitStatus() == 0)
      #expect(doctor.output.contains("warn  tls"))
    }
  }

  @Test(
    "what is wrong with a certificate is named, and the remedy works",
    arguments: [("own", "--tls-insecure"), ("other", "another name"), ("expired", "has expired")])
  func bad(certificate: String, says text: String) async throws {
    try await withServer(certificate) { server, url, file in
      try await expectRefusal(["--url", url, "--tls-ca", file("root.pem")], 78, says: text)
      try await TransportTests.expectMainJob(["--url", url, "--tls-insecure"])
      guard certificate == "own" else { return }
      try await server.command("FLUSHALL")
      try await TransportTests.expectMainJob(["--url", url, "--tls-ca", file("own.chain")])
    }
  }

  @Test("a server that asks for a client's certificate gets it")
  func clientCertificate() async throws {
    try await withServer("good", options: ["--tls-auth-clients", "yes"]) { _, url, file in
      let words = ["--url", url, "--tls-ca", file("root.pem")]
      try await expectRefusal(words, 78, says: "--tls-cert FILE")
      try await TransportTests.expectMainJob(
        words + ["--tls-cert", file("client.pem"), "--tls-key", file("client.key")])
    }
  }

  @Test("TLS 1.2 and TLS 1.3", arguments: ["TLSv1.2", "TLSv1.3"])
  func versions(version: String) async throws {
    let options = ["--tls-auth-clients", "no", "--tls-protocols", version]
    try await withServer("good", options: options) { _, url, file in
      try await TransportTests.expectMainJob(["--url", url, "--tls-ca", file("root.pem")])
    }
  }

  @Test("the server hears which name is meant")
  func serverName() async throws {
    let folder = URL(filePath: "/tmp/paasbus-test-\(UUID().uuidString.prefix(12))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try await Self.makeCertificates(folder)
    let port = try RedisServer.freePort()
    let program = """
      import socket, ssl
      context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
      context.load_cert_chain("good.chain", "good.key")
      context.sni_callback = lambda s, name, c: print("name", name, flush=True)
      listener = socket.create_server(("127.0.0.1", \(port)))
      print("here", flush=True)
      while True:
          try: context.wrap_socket(listener.accept()[0], server_side=True).close()
          except OSError: pass
      """
    let server = try ManagedProcess(
      "/bin/sh", ["-c", "cd \(folder.path) && exec python3 -c '\(program)'"])
    defer { server.signal(SIGKILL) }
    try await eventually("it listens: \(server.errorOutput)") { server.output.contains("here") }
    let authority = folder.appending(path: "root.pem").path
    let list = try Paasbus.start(
      "list", "--url", "rediss://localhost:\(port)", "--tls-ca", authority, "--timeout", "2s")
    _ = try await list.exitStatus()
    try await eventually("the name is heard") { server.output.contains("name localhost") }
  }
}
