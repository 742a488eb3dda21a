import Foundation
import TestSupport
import Testing

@Suite("Bad input ends in one clear line")
struct BadInputTests {
  /// Runs it to its end and checks that there was one line and nothing else.
  private func expect(
    _ words: [String], _ status: Int32, says text: String, on server: RedisServer? = nil,
    environment: [String: String] = [:]
  ) async throws {
    let process = try Paasbus.start(words, on: server, environment: environment)
    #expect(try await process.exitStatus() == status, "\(words) \(process.errorOutput)")
    #expect(process.errorLines.count == 1, "\(process.errorOutput)")
    #expect(process.errorOutput.hasPrefix("paasbus: "))
    #expect(process.errorOutput.contains(text), "\(process.errorOutput)")
    #expect(process.output.isEmpty)
  }

  @Test(
    "arguments that make no sense",
    arguments: [
      (["announce", "--lease", "0"], "--lease"),
      (["announce", "--lease", "0s"], "--lease"),
      (["announce", "--lease", "10m"], "--lease"),
      (["announce", "--meta", "a=1", "--meta", "a=2"], "twice"),
      (["announce", "--meta", "novalue"], "KEY=VALUE"),
      (["announce", "--name", "a\nb"], "control characters"),
      (["announce", "--name", "\u{1b}[31m"], "control characters"),
      (["announce", "--name", String(repeating: "x", count: 100_000)], "8 KiB"),
      (["announce", "--name", ""], "--name"),
      (["watch", "--since", "yesterday"], "--since"),
      (["watch", "--only", "start,born"], "--only"),
      (["wacht"], "wacht"),
      (["list", "--state", "gone"], "--state"),
      (["list", "--nonsense"], "--nonsense"),
      (["announce", "--lease", "0"], "see 'paasbus announce --help'"),
    ])
  func usage(words: [String], text: String) async throws {
    try await expect(
      words, 64, says: text, environment: ["PAASBUS_URL": "redis://127.0.0.1:1"])
  }

  @Test(
    "URLs that are none",
    arguments: [
      ("redis://127.0.0.1:0", "port"), ("redis://127.0.0.1:70000", "port"),
      ("ftp://127.0.0.1", "scheme ftp"), ("127.0.0.1:6379", "no scheme"),
      ("redis://", "no host"), ("https://u:pw@x.example", "REST"),
      ("redis://127.0.0.1/zero", "database"),
    ])
  func urls(url: String, text: String) async throws {
    for command in ["announce", "watch", "list"] {
      try await expect([command, "--url", url], 78, says: text)
    }
  }

  @Test("a Redis that is not there")
  func unreachable() async throws {
    let url = "redis://127.0.0.1:\(try RedisServer.freePort())"
    for command in ["watch", "list"] {
      try await expect([command, "--url", url], 69, says: "connection refused")
    }
    try await expect(
      ["watch", "--url", "redis://no-such-host.invalid"], 69, says: "does not resolve")
  }

  @Test("a wrong password and a missing permission")
  func refused() async throws {
    try await RedisServer.with(usesTCP: true) { server in
      try await server.command("CONFIG", "SET", "requirepass", "secret")
      let port = server.port ?? 0
      for command in ["announce", "watch", "list"] {
        try await expect(
          [command, "--url", "redis://:wrong@127.0.0.1:\(port)"], 77, says: "password")
        try await expect([command, "--url", "redis://127.0.0.1:\(port)"], 77, says: "password")
      }
      let admin = try ManagedProcess(
        "redis-cli",
        [
          "-s", server.socketPath, "-a", "secret", "ACL", "SETUSER", "dumb", "on", ">dumb", "~*",
          "+ping", "+client",
        ])
      _ = try await admin.exitStatus()
      for command in ["announce", "watch", "list"] {
        try await expect(
          [command, "--app", "a", "--url", "redis://dumb:dumb@127.0.0.1:\(port)"], 77,
          says: "NOPERM")
      }
    }
  }

  @Test("a server that is no Redis")
  func noRedis() async throws {
    let port = try RedisServer.freePort()
    let http = try ManagedProcess(
      "python3", ["-m", "http.server", "\(port)", "--bind", "127.0.0.1"])
    defer { http.signal(SIGKILL) }
    try await eventually("it answers") {
      let probe = try Paasbus.start("list", "--url", "redis://127.0.0.1:\(port)")
      return try await probe.exitStatus() == 76
    }
    for command in ["announce", "watch"] {
      try await expect(
        [command, "--url", "redis://127.0.0.1:\(port)"], 76,
        says: "did not reply in the Redis protocol")
    }
  }

  @Test("a platform without Redis: the names that were looked for")
  func platform() async throws {
    for command in ["announce", "watch", "list"] {
      let process = try Paasbus.start([command], environment: ["DYNO": "web.1"])
      #expect(try await process.exitStatus() == 78)
      for name in ["REDISTOGO_URL", "REDISCLOUD_URL", "REDIS_URL", "VCAP_SERVICES"] {
        #expect(process.errorOutput.contains(name))
      }
    }
  }

  @Test("no Redis, no platform, no terminal")
  func nothing() async throws {
    let folder = "/tmp/paasbus-run-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try await expect(
      ["watch"], 78, says: "paasbus local start", environment: ["XDG_RUNTIME_DIR": folder])
  }

  @Test("a password shows neither in ps nor in any output")
  func passwords() async throws {
    try await RedisServer.with(usesTCP: true) { server in
      try await server.command("CONFIG", "SET", "requirepass", "topsecret")
      let url = "redis://redistogo:topsecret@127.0.0.1:\(server.port ?? 0)"
      let announce = try Paasbus.start("announce", "-v", "--url", url)
      try await eventually("it is announced") { announce.errorOutput.contains("announced ") }
      let title = try String(
        contentsOfFile: "/proc/\(announce.processID)/cmdline", encoding: .utf8)
      #expect(title.contains("announce") && !title.contains("topsecret"))
      #expect(announce.errorOutput.contains("redis://redistogo:***@127.0.0.1"))
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
      #expect(!announce.errorOutput.contains("topsecret"))
    }
  }

  @Test("output that nobody reads or that cannot be written")
  func output() async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce(on: server)
      let line = "PAASBUS_URL=\(server.url) \(Paasbus.path)"
      let pipe = try ManagedProcess(
        "/bin/bash", ["-c", "\(line) list -q | true; echo ${PIPESTATUS[0]}"])
      #expect(try await pipe.exitStatus() == 0)
      #expect(pipe.output == "0\n" && pipe.errorOutput.isEmpty)
      for command in ["list", "--version", "--help"] {
        for sink in [">&-", ">/dev/full"] {
          let closed = try ManagedProcess("/bin/bash", ["-c", "\(line) \(command) \(sink)"])
          #expect(try await closed.exitStatus() == 1)
          #expect(closed.errorOutput.contains("standard output"))
        }
      }
      let quiet = try ManagedProcess("/bin/bash", ["-c", "\(line) watch | head -1"])
      #expect(try await quiet.exitStatus() == 0)
      #expect(quiet.lines.count == 1)
      announce.signal(SIGTERM)
    }
  }

  @Test("an argument that is wrong is named, also where it is a part of a URL")
  func partOfURL() async throws {
    let url = ["--url", "redis://localhost:21002"]
    for (words, text) in [
      (["redis"], "'redis'"), (["--state", "localhost"], "'localhost'"),
      (["--timeout", "21002x"], "'21002x'"),
    ] {
      try await expect(["list"] + url + words, 64, says: text)
      let process = try Paasbus.start(["list"] + url + words)
      _ = try await process.exitStatus()
      #expect(!process.errorOutput.contains("--url"), "\(process.errorOutput)")
    }
  }

  @Test(
    "a server that answers everything alike is no empty bus",
    arguments: ["+OK", ":1", "$-1", "*-1", "*0", "$2\r\nhi"])
  func alike(answer: String) async throws {
    let server = try ManagedProcess(
      "python3",
      [
        "-c",
        """
        import socket, sys, threading
        listener = socket.create_server(('127.0.0.1', 0))
        print(listener.getsockname()[1], flush=True)
        answer = sys.argv[1].encode().decode('unicode_escape').encode() + b'\\r\\n'
        def serve(client):
            pending = b''
            while True:
                data = client.recv(65536)
                if not data: return
                pending += data
                while True:
                    lines = pending.split(b'\\r\\n')
                    need = 2 * int(lines[0][1:]) + 1 if len(lines) > 1 else 0
                    if not need or len(lines) <= need: break
                    pending = b'\\r\\n'.join(lines[need:])
                    client.sendall(answer)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()
        """, answer.replacing("\r\n", with: "\\r\\n"),
      ])
    defer { server.signal(SIGKILL) }
    try await eventually("it listens") { server.output.hasSuffix("\n") }
    let port = try #require(server.lines.first.flatMap { Int($0) })
    let url = ["--app", "a", "--url", "redis://127.0.0.1:\(port)"]
    for words in [["list"], ["history"], ["watch"], ["wait", "--timeout", "9s"], ["announce"]] {
      let process = try Paasbus.start(words + url)
      #expect(try await process.exitStatus() == 76, "\(words) \(process.errorOutput)")
      #expect(process.errorLines.count == 1, "\(process.errorOutput)")
      #expect(process.output.isEmpty, "\(process.output)")
    }
  }

  @Test("an argument that is no UTF-8 is refused, instead of being changed")
  func otherEncoding() async throws {
    for words in ["publish \"$(printf 'z\\377')\" m", "publish z \"$(printf 'm\\377')\""] {
      let process = try ManagedProcess(
        "sh", ["-c", "exec \(Paasbus.path) \(words) --url redis://127.0.0.1:1"],
        environment: ManagedProcess.bareEnvironment)
      #expect(try await process.exitStatus() == 64)
      #expect(process.errorOutput.contains("not UTF-8"), "\(process.errorOutput)")
    }
  }
}
