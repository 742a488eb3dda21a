import Foundation
import TestSupport
import Testing

@Suite("TLS as providers have it")
struct TLSTests {
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
    try await Certificates.withServer("good") { server, url, file in
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
      try await expectRefusal(
        ["--url", url, "--tls-ca", "/none"], 78, says: "no such file")
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
    arguments: [
      ("own", "--tls-insecure"), ("other", "another name"), ("expired", "has expired"),
      ("address", "another name"), ("star", "another name"),
    ])
  func bad(certificate: String, says text: String) async throws {
    try await Certificates.withServer(certificate) { server, url, file in
      try await expectRefusal(["--url", url, "--tls-ca", file("root.pem")], 78, says: text)
      try await TransportTests.expectMainJob(["--url", url, "--tls-insecure"])
      guard certificate == "own" else { return }
      try await server.command("FLUSHALL")
      try await TransportTests.expectMainJob(["--url", url, "--tls-ca", file("own.chain")])
    }
  }

  @Test("a server that asks for a client's certificate gets it")
  func clientCertificate() async throws {
    try await Certificates.withServer("good", options: ["--tls-auth-clients", "yes"]) {
      _, url, file in
      let words = ["--url", url, "--tls-ca", file("root.pem")]
      try await expectRefusal(words, 78, says: "--tls-cert FILE")
      try await TransportTests.expectMainJob(
        words + ["--tls-cert", file("client.pem"), "--tls-key", file("client.key")])
    }
  }

  @Test("a client's certificate that the server does not trust is told as that")
  func refusedCertificate() async throws {
    for version in ["TLSv1.2", "TLSv1.3"] {
      let options = ["--tls-auth-clients", "yes", "--tls-protocols", version]
      try await Certificates.withServer("good", options: options) { _, url, file in
        let own = ["--tls-cert", file("own.chain"), "--tls-key", file("own.key")]
        try await expectRefusal(
          ["--url", url, "--tls-ca", file("root.pem")] + own, 78, says: "does not accept")
      }
    }
  }

  @Test(
    "Ed25519 and P-521 keys", arguments: ["ed25519", "p521"], ["TLSv1.2", "TLSv1.3"])
  func keys(certificate: String, version: String) async throws {
    let options = ["--tls-auth-clients", "no", "--tls-protocols", version]
    try await Certificates.withServer(certificate, options: options) { _, url, file in
      try await TransportTests.expectMainJob(["--url", url, "--tls-ca", file("root.pem")])
    }
  }

  @Test("a server that has no algorithm in common with us is told as that, and which there are")
  func algorithms() async throws {
    let options = [
      "--tls-auth-clients", "no", "--tls-protocols", "TLSv1.2", "--tls-ciphers",
      "DHE-RSA-AES256-GCM-SHA384", "--tls-dh-params-file", "FOLDER/dh.pem",
    ]
    try await Certificates.withServer("good", options: options) { _, url, file in
      try await expectRefusal(
        ["--url", url, "--tls-ca", file("root.pem")], 78, says: "let it offer ECDHE")
    }
  }

  @Test("older versions are not spoken", arguments: ["TLSv1", "TLSv1.1"])
  func oldVersions(version: String) async throws {
    let options = [
      "--tls-auth-clients", "no", "--tls-protocols", version, "--tls-ciphers",
      "DEFAULT:@SECLEVEL=0",
    ]
    try await Certificates.withServer("good", options: options) { _, url, file in
      try await expectRefusal(
        ["--url", url, "--tls-ca", file("root.pem")], 78, says: "other versions of TLS")
    }
  }

  @Test("a server that does not answer may do so later")
  func frozen() async throws {
    try await Certificates.withServer("good") { server, url, file in
      server.freeze()
      let words = ["--timeout", "1s", "--url", url, "--tls-ca", file("root.pem")]
      let list = try Paasbus.start(["list"] + words)
      #expect(try await list.exitStatus() == 69)
      #expect(list.errorOutput.contains("handshake got no answer"), "\(list.errorOutput)")
      let announce = try Paasbus.start(["announce"] + words)
      try await eventually("it tries again") { announce.errorOutput.contains("trying again") }
      server.thaw()
      try await eventually("it is announced") { announce.errorOutput.contains("announced ") }
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
    }
  }

  @Test("TLS 1.2 and TLS 1.3", arguments: ["TLSv1.2", "TLSv1.3"])
  func versions(version: String) async throws {
    let options = ["--tls-auth-clients", "no", "--tls-protocols", version]
    try await Certificates.withServer("good", options: options) { _, url, file in
      try await TransportTests.expectMainJob(["--url", url, "--tls-ca", file("root.pem")])
    }
  }

  @Test("the server hears which name is meant")
  func serverName() async throws {
    let folder = URL(filePath: "/tmp/paasbus-test-\(UUID().uuidString.prefix(12))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try await Certificates.make(folder)
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
