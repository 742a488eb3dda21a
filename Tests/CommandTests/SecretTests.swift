import Foundation
import PaasbusRedis
import TestSupport
import Testing

@Suite("Secrets")
struct SecretTests {
  private static let secret = "t0psecret"

  /// Runs a command to its end, or for a moment, and looks for the password wherever it could show.
  private func expectSilence(
    _ words: [String], environment: [String: String] = [:], isTitleClean: Bool = true
  ) async throws {
    let process = try Paasbus.start(words, environment: environment)
    var titles = ""
    try? await eventually("it has ended, or been there for a while", within: .milliseconds(1500)) {
      // Once it has read its arguments, `ps` shows them without the password.
      if process.errorOutput.contains("paasbus:") || !process.output.isEmpty {
        titles +=
          (try? String(
            contentsOfFile: "/proc/\(process.processID)/cmdline", encoding: .utf8)) ?? ""
      }
      return !process.isRunning
    }
    if environment.isEmpty {
      let variables = try? String(
        contentsOfFile: "/proc/\(process.processID)/environ", encoding: .utf8)
      #expect(variables?.contains(Self.secret) != true)
    }
    process.signal(SIGTERM)
    _ = try await process.exitStatus()
    for text in [process.output, process.errorOutput] + (isTitleClean ? [titles] : []) {
      #expect(!text.contains(Self.secret), "\(words): \(text)")
    }
  }

  @Test("the password shows nowhere, whatever goes wrong and however much is said")
  func everywhere() async throws {
    try await RedisServer.with(usesTCP: true) { server in
      try await server.cli("CONFIG", "SET", "requirepass", Self.secret)
      let (port, closed) = (server.port ?? 0, try RedisServer.freePort())
      let login = "some:\(Self.secret)@"
      let urls = [
        "redis://\(login)127.0.0.1:\(port)", "redis://\(Self.secret)@127.0.0.1:\(port)",
        "redis://:\(Self.secret)x@127.0.0.1:\(port)", "redis://\(login)127.0.0.1:\(closed)",
        "rediss://\(login)127.0.0.1:\(port)", "redis://\(login)no-such-host.invalid",
        "redis://\(login)127.0.0.1:\(port)/99", "redis://\(login)127.0.0.1:\(port)/x",
        "redis://\(login)127.0.0.1:70000", "redis://\(login)", "nonsense://\(login)host",
        "redis://some:\(Self.secret)/@host", "https://\(login)host",
        "redis+sentinel://\(login)127.0.0.1:\(closed)/m?sentinel_password=\(Self.secret)",
        "unix://\(login)\(server.socketPath)?db=2&family=0",
      ]
      for url in urls {
        for command in [["list"], ["doctor"], ["announce"], ["publish", "c", "m"]] {
          try await expectSilence(command + ["-v", "--url", url])
        }
        try await expectSilence(["doctor", "-v"], environment: ["REDISTOGO_URL": url])
      }
      for command in [["watch"], ["subscribe", "c"], ["announce", "--", "sleep", "0.2"]] {
        let option = ["-v", "--url", urls[0]]
        try await expectSilence([command[0]] + option + command.dropFirst())
      }
    }
  }

  @Test("what may be a secret shows nowhere, wherever it was put")
  func misplaced() async throws {
    let key = "-----BEGIN PRIVATE KEY-----\nMIIE\(Self.secret)\n-----END PRIVATE KEY-----\n"
    let texts = [
      "joe:\(Self.secret)", "redis://joe:\(Self.secret)@h", "REDIS_PASSWORD=\(Self.secret)", key,
      "127.0.0.1:6380,password=\(Self.secret),ssl=True",
      "\(Self.secret)\(Self.secret)\(Self.secret)",
    ]
    let url = ["--url", "redis://127.0.0.1:1"]
    for text in texts {
      for words in [
        [text], ["list", text], ["list", "--color", text], ["list", "--timeout=\(text)"],
        ["list", "--state", text], ["announce", text], ["-x\(text)"], ["list", "-x\(text)"],
        ["watch", "--only", text],
      ] {
        // What only may be a secret stands in `ps` as it was typed.
        try await expectSilence(words + url, isTitleClean: SecretKind.isCertain(text))
      }
    }
    for text in [key, "redis://joe:\(Self.secret)@h"] {
      for words in [
        ["list", "--app", text], ["announce", "--name", text], ["announce", "--release", text],
        ["watch", "--channel", text], ["announce", "--meta", "k=\(text)"],
        ["publish", "--expect", "3", text, "hi"],
      ] {
        try await expectSilence(words + url)
      }
      try await expectSilence(["announce"] + url + ["--", text])
      for name in ["PAASBUS_APP", "PAASBUS_CHANNEL"] {
        for command in ["list", "announce", "doctor"] {
          try await expectSilence([command] + url, environment: [name: text])
        }
      }
    }
    try await RedisServer.with { server in
      for query in ["password=\(Self.secret)", "x#\(Self.secret)"] {
        try await expectSilence(["watch", "-v", "--url", "unix://\(server.socketPath)?\(query)"])
      }
    }
  }

  @Test("what is no URL, or no file, in the place of one does not stay in the list of processes")
  func titles() async throws {
    for value in [
      "u:\(Self.secret)@127.0.0.1:1", "redis:/u:\(Self.secret)@h", "rediss//:\(Self.secret)@h:1",
      ":\(Self.secret)@127.0.0.1", "//u:\(Self.secret)@h:1", "redis://127.0.0.1:\(Self.secret)",
      "redis://h:1/\(Self.secret)", Self.secret,
    ] {
      for words in [["--url", value], ["--url=\(value)"], ["--tls-ca", value]] {
        let process = try Paasbus.start(["announce", "-v"] + words + ["--", "sleep", "1000"])
        try await eventually("it says so: \(process.errorOutput)") {
          !process.errorOutput.isEmpty
        }
        let title = try String(
          contentsOfFile: "/proc/\(process.processID)/cmdline", encoding: .utf8)
        #expect(title.contains("announce") && !title.contains(Self.secret), "\(title)")
        process.signal(SIGTERM)
        _ = try await process.exitStatus()
      }
    }
  }

  @Test("on a terminal it is said that a variable is better")
  func note() async throws {
    try await RedisServer.with { server in
      try await Terminal.with(
        "\(Paasbus.path) watch --url unix://:x@\(server.socketPath)", columns: 120
      ) { terminal in
        try await terminal.expect("set PAASBUS_URL instead")
      }
    }
  }
}
