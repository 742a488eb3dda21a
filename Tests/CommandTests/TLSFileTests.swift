import Foundation
import TestSupport
import Testing

@Suite("The files of TLS")
struct TLSFileTests {
  /// Makes the files that go wrong, beside the good ones, and runs `body` with their folder.
  private static func withFiles(_ body: ((String) -> String) async throws -> Void) async throws {
    let folder = URL(filePath: "/tmp/paasbus-test-\(UUID().uuidString.prefix(12))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try await Certificates.make(folder)
    let script = """
      set -e; cd \(folder.path)
      : >empty; printf ' \\n\\n' >blank; echo hello >text
      openssl x509 -in root.pem -outform DER -out root.der
      openssl pkcs12 -export -in client.pem -inkey client.key -passout pass: -out client.pfx
      openssl pkey -in client.key -outform DER -out client.der
      openssl pkey -in client.key -aes256 -passout pass:pw -out locked.key
      openssl rsa -in client.key -aes256 -passout pass:pw -traditional -out locked-old.key
      (printf '\\357\\273\\277'; cat root.pem) >bom.pem
      iconv -f ASCII -t UTF-16 root.pem >utf16.pem
      sed '5s/[A-Za-z]/-/g' root.pem >broken.pem
      sed '5s/[A-Za-z]/-/g' client.key >broken.key
      cat client.key client.pem >both.pem
      cat middle.pem good.pem >reversed.chain
      mkfifo pipe
      """
    let process = try ManagedProcess("/bin/bash", ["-c", script])
    try #require(
      try await process.exitStatus(within: .seconds(120)) == 0, "\(process.errorOutput)")
    try await body { folder.appending(path: $0).path }
  }

  @Test("each says what it is")
  func faults() async throws {
    try await Self.withFiles { file in
      let client = ["--tls-cert", file("client.pem"), "--tls-key"]
      let cases: [([String], String)] = [
        (["--tls-ca", file("none")], "--tls-ca: no such file"),
        (["--tls-ca", file("root.pem") + "/x"], "--tls-ca: no such file"),
        (["--tls-ca", "/tmp"], "/tmp: cannot be read (Is a directory)"),
        (["--tls-ca", file("empty")], "is empty"), (["--tls-ca", file("blank")], "is empty"),
        (["--tls-ca", file("text")], "is not PEM"),
        (["--tls-ca", file("root.der")], "openssl x509 -inform DER"),
        (["--tls-ca", file("client.pfx")], "is binary"),
        (["--tls-ca", file("bom.pem")], "byte order mark"),
        (["--tls-ca", file("utf16.pem")], "byte order mark"),
        (["--tls-ca", file("broken.pem")], "cannot be read"),
        (["--tls-ca", file("client.key")], "holds no certificate"),
        (["--tls-ca", file("pipe")], "nothing comes out of this pipe"),
        (["--tls-cert", file("client.pem")], "the key to this certificate is missing"),
        (["--tls-key", file("client.key")], "the certificate to this key is missing"),
        (client + [file("client.pem")], "holds no private key"),
        (client + [file("client.der")], "openssl pkey -inform DER"),
        (client + [file("locked.key")], "protected by a passphrase"),
        (client + [file("locked-old.key")], "protected by a passphrase"),
        (client + [file("broken.key")], "cannot be read"),
        (client + [file("good.key")], "does not fit the certificate"),
        (client + [file("ed25519.key")], "does not fit the certificate"),
        (
          ["--tls-cert", file("reversed.chain"), "--tls-key", file("good.key")],
          "fits another certificate of the chain"
        ),
      ]
      for (words, text) in cases {
        let list = try Paasbus.start(["list", "--url", "rediss://127.0.0.1:1"] + words)
        #expect(try await list.exitStatus() == 78, "\(words)")
        #expect(list.errorOutput.contains(text), "\(words) \(list.errorOutput)")
        #expect(list.errorLines.count == 1)
      }
      // Neither keeps the command from running.
      let announce = try Paasbus.start(
        "announce", "--url", "rediss://127.0.0.1:1", "--tls-ca", file("pipe"), "--", "true")
      #expect(try await announce.exitStatus() == 0)
    }
  }

  @Test("a key or a certificate in a file's place is named and not shown, and neither is a URL")
  func misplaced() async throws {
    try await Self.withFiles { file in
      let key = try String(contentsOfFile: file("client.key"), encoding: .utf8)
      let certificate = try String(contentsOfFile: file("client.pem"), encoding: .utf8)
      let line = key.split(separator: "\n").dropFirst().dropLast().joined()
      let url = ["--url", "rediss://127.0.0.1:1"]
      let secret = "redis://:t0psecret/MIIE@host"
      let cases: [([String], String, Int32)] = [
        (
          ["list", "--tls-key=\(key)", "--tls-cert", file("client.pem")] + url, "a private key", 78
        ),
        (["list", "--tls-key", key] + url, "a private key is not a valid value for --tls-key", 64),
        (["list", "--tls-ca=\(key)"] + url, "a private key", 78),
        (["list", "--tls-ca", certificate] + url, "a certificate", 64),
        (["list", "--tls-cert=\(certificate)"] + url, "a certificate", 78),
        (["list", "--tls-ca", line] + url, "a long text", 78),
        (["list", "--tls-ca", secret] + url, "a URL", 78),
        (["list", key], "a private key is not expected here", 64),
        (["list", secret], "a URL is not expected here", 64),
        (["list", "--timeout", line], "a long text is not a valid value for --timeout", 64),
        (["list", "--timeout=\(secret)"], "a URL is not a valid value for --timeout", 64),
        (["list", "--tls-kye=\(key)"] + url, "Did you mean '--tls-key'", 64),
        ([secret], "a URL is not a command", 64), ([key], "a private key", 64),
        (["announce", secret], "a URL", 64),
      ]
      for (words, text, status) in cases {
        let process = try Paasbus.start(words)
        #expect(try await process.exitStatus() == status, "\(process.errorOutput)")
        #expect(process.errorOutput.contains(text), "\(text): \(process.errorOutput)")
        #expect(process.errorLines.count == 1)
        for piece in ["t0psecret", "MII", "BEGIN", "KEY-----"] + [String(line.prefix(8))] {
          #expect(!process.errorOutput.contains(piece) && !process.output.contains(piece))
        }
      }
      let list = try Paasbus.start(["list"] + url, environment: ["PAASBUS_TLS_CA": key])
      #expect(try await list.exitStatus() == 78)
      #expect(list.errorOutput.contains("PAASBUS_TLS_CA: this is a private key"))
      #expect(!list.errorOutput.contains("MII"))
      let watch = try Paasbus.start(["watch", "--tls-key=\(key)", "--url", "redis://127.0.0.1:1"])
      try await eventually("ps shows no key") {
        guard watch.isRunning else { return true }
        let words = try? String(contentsOfFile: "/proc/\(watch.processID)/cmdline", encoding: .utf8)
        return words?.contains("watch") == true && words?.contains("MII") == false
      }
    }
  }

  @Test("what was read at the start is good for every connection")
  func readOnce() async throws {
    try await Certificates.withServer("good") { server, url, file in
      let bash = """
        exec \(Paasbus.path) "$0" --url \(url) --lease 2s --tls-ca <(cat \(file("root.pem")))
        """
      let watch = try ManagedProcess(
        "bash", ["-c", bash.replacing("--lease 2s", with: "--json"), "watch"],
        environment: ManagedProcess.bareEnvironment)
      try await Bus(on: server).awaitWatchers(1)
      let announce = try ManagedProcess(
        "bash", ["-c", bash, "announce"], environment: ManagedProcess.bareEnvironment)
      _ = try await watch.waitFor("start")
      try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      try await server.command("CLIENT", "KILL", "TYPE", "pubsub")
      for process in [announce, watch] {
        try await eventually("it is back: \(process.errorOutput)") {
          process.errorOutput.contains("connected to Redis again")
        }
      }
      #expect(watch.objects(ofType: "lost").isEmpty)
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
      _ = try await watch.waitFor("stop")
    }
  }

  @Test(
    "a file that breaks changes nothing, and one that is renewed is taken once the old one fails")
  func renewed() async throws {
    try await Certificates.withServer("good") { server, url, file in
      let authority = URL(filePath: file("authority.pem"))
      let root = try Data(contentsOf: URL(filePath: file("root.pem")))
      try root.write(to: authority)
      let announce = try Paasbus.start(
        "announce", "--url", url, "--lease", "2s", "--tls-ca", authority.path)
      try await eventually("it is announced") { announce.errorOutput.contains("announced") }
      for content in [Data("nonsense".utf8), Data()] {
        try content.write(to: authority)
        try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        try await eventually("it is back: \(announce.errorOutput)") {
          announce.errorLines.count { $0.contains("connected to Redis again") }
            == announce.errorLines.count { $0.contains("trying again") }
            && announce.errorOutput.contains("trying again")
        }
      }
      // Now the server shows a certificate of another authority.
      try Data(contentsOf: URL(filePath: file("own.chain"))).write(to: authority)
      try await server.command("CONFIG", "SET", "tls-key-file-pass", "")
      try await server.command(
        "CONFIG", "SET", "tls-cert-file", file("own.chain"), "tls-key-file", file("own.key"))
      let count = announce.errorLines.count { $0.contains("connected to Redis again") }
      try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      try await eventually("it is back: \(announce.errorOutput)") {
        announce.errorLines.count { $0.contains("connected to Redis again") } > count
      }
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
    }
  }

  @Test("SSL_CERT_FILE and SSL_CERT_DIR are heeded, and PAASBUS_TLS_INSECURE takes a word")
  func variables() async throws {
    try await Certificates.withServer("good") { _, url, file in
      let folder = URL(filePath: file("authorities"))
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      try FileManager.default.copyItem(
        at: URL(filePath: file("root.pem")), to: folder.appending(path: "root.crt"))
      try Data("read me".utf8).write(to: folder.appending(path: "README"))
      #expect(mkfifo(folder.appending(path: "pipe").path, 0o600) == 0)
      let good: [[String: String]] = [
        ["SSL_CERT_FILE": file("root.pem")], ["SSL_CERT_DIR": folder.path],
        ["SSL_CERT_DIR": "\(folder.path):/etc:/none"],
        ["PAASBUS_TLS_INSECURE": "true"], ["PAASBUS_TLS_INSECURE": "yes\n"],
        ["PAASBUS_TLS_INSECURE": "1"], ["PAASBUS_TLS_CA": file("root.pem") + "\n"],
      ]
      for environment in good {
        let list = try Paasbus.start(
          ["list", "--url", url, "--app", "a"], environment: environment)
        #expect(try await list.exitStatus() == 0, "\(environment) \(list.errorOutput)")
      }
      let bad: [([String: String], String)] = [
        (["SSL_CERT_FILE": "/none"], "SSL_CERT_FILE: no such file"),
        (["SSL_CERT_FILE": file("good.key")], "holds no certificate"),
        (["SSL_CERT_DIR": "/none:/nor"], "SSL_CERT_DIR: no such file"),
        (["PAASBUS_TLS_INSECURE": "0"], "is not trusted"),
      ]
      for (environment, text) in bad {
        let list = try Paasbus.start(["list", "--url", url], environment: environment)
        #expect(try await list.exitStatus() == 78)
        #expect(list.errorOutput.contains(text), "\(list.errorOutput)")
      }
    }
  }

  @Test(
    "a machine without authorities works with --tls-ca, and is told which package it lacks",
    arguments: ["mount -t tmpfs none /etc/ssl", "mount -t tmpfs none /etc/ssl/certs"])
  func noAuthorities(mount: String) async throws {
    try await Certificates.withServer("good") { _, url, file in
      func list(_ words: String) throws -> ManagedProcess {
        let script = "\(mount) && exec \(Paasbus.path) list --app a --url \(url) \(words)"
        return try ManagedProcess(
          "unshare", ["--mount", "sh", "-c", script], environment: ManagedProcess.bareEnvironment)
      }
      let good = try list("--tls-ca \(file("root.pem"))")
      #expect(try await good.exitStatus() == 0, "\(good.errorOutput)")
      let bad = try list("")
      #expect(try await bad.exitStatus() == 78)
      #expect(bad.errorOutput.contains("ca-certificates"), "\(bad.errorOutput)")
    }
  }
}
