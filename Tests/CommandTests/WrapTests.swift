import Foundation
import TestSupport
import Testing

@Suite("announce in front of a command")
struct WrapTests {
  /// Runs a shell script with a program that shows what it inherited, directly and through us.
  private func inherited(_ script: String) async throws -> (direct: String, wrapped: String) {
    let probe = """
      grep -E '^Sig(Blk|Ign)|^Shd|^Seccomp' /proc/self/status; umask; ulimit -a; pwd; ls /proc/self/fd
      env | grep -v '^_=' | grep -v '^PAASBUS_' | sort; printf '<%s>' "$@"; \
      awk '{print $5 == PGRP}' PGRP="$$" /proc/self/stat
      """
    // What the tests' own process has open at the moment is none of this one's business.
    let tidy = "for n in $(ls /proc/$$/fd); do [ $n -le 2 ] || eval \"exec $n>&-\"; done; "
    var outputs: [String] = []
    for front in ["", "\(Paasbus.path) announce -q --"] {
      let process = try ManagedProcess(
        "/bin/bash",
        [
          "-c",
          tidy + script.replacing("COMMAND", with: #"\#(front) sh -c "$PROBE" probe 'a b' "" ü"#),
        ],
        environment: ManagedProcess.bareEnvironment.merging([
          "PROBE": probe, "PAASBUS_URL": "redis://127.0.0.1:1", "ODD": "a\nb=c",
        ]) { $1 })
      _ = try await process.exitStatus()
      outputs.append(process.output)
    }
    return (outputs[0], outputs[1])
  }

  @Test(
    "it finds everything as it would without us: signals, limits, descriptors, environment, words",
    arguments: [
      "COMMAND", "trap '' HUP INT USR1 PIPE; COMMAND", "umask 027; ulimit -n 77; cd /; COMMAND",
      "exec 9</dev/null; COMMAND", "COMMAND <&-", "nohup COMMAND 2>/dev/null",
      "COMMAND & wait",
    ])
  func transparency(script: String) async throws {
    let (direct, wrapped) = try await inherited(script)
    #expect(direct.contains("SigIgn") && direct.contains("<a b><><ü>"))
    #expect(wrapped == direct)
  }

  @Test("its words and those of a URL in them reach it to the byte, while ps shows no password")
  func words() async throws {
    try await RedisServer.with { server in
      let url = "postgres://u:topsecret@db/x"
      let process = try await Paasbus.wrap(
        ["sh", "-c", "echo \"$1\"; exec sleep 100", "sh", url], on: server)
      try await eventually("it has said so") { process.output == url + "\n" }
      let title = try String(
        contentsOfFile: "/proc/\(process.processID)/cmdline", encoding: .utf8)
      #expect(!title.contains("topsecret"))
      process.signal(SIGTERM)
      _ = try await process.exitStatus()
    }
  }

  @Test("the end is told as it was: by itself, by a fault, or killed")
  func ends() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      for (script, status, reason, signal) in [
        ("exit 0", Int32(0), "exit", nil), ("exit 3", 3, "exit", nil),
        ("kill -SEGV $$", 139, "signal", "SIGSEGV"), ("kill -KILL $$", 137, "signal", "SIGKILL"),
      ] {
        let process = try Paasbus.start("announce", "--", "sh", "-c", script, on: server)
        #expect(try await process.exitStatus() == status)
        let stop = try #require(try await watch.waitFor("stop").last)
        try await eventually("it is told") {
          watch.objects(ofType: "stop").last?["exit"] == .number(Int64(status))
        }
        _ = stop
        let told = watch.objects(ofType: "stop").last
        #expect(told?["reason"] == .string(reason))
        #expect(told?["signal"] == signal.map { .string($0) })
      }
      #expect(watch.objects(ofType: "start").count == 4)
    }
  }

  @Test("what cannot be run ends with 126 or 127 and a clear line, and nothing is announced")
  func notRun() async throws {
    for (word, status, text) in [
      ("no-such-program", Int32(127), "not found"), ("/etc/passwd", 126, "cannot be executed"),
      ("/tmp", 126, "cannot be executed"), ("/etc/passwd/x", 127, "not found"),
    ] {
      let process = try Paasbus.start(
        ["announce", "--", word], environment: ["PAASBUS_URL": "redis://127.0.0.1:1"])
      #expect(try await process.exitStatus() == status, "\(word)")
      #expect(process.errorLines.count == 1 && process.errorOutput.contains(text))
    }
  }

  /// A command that says who it is and which signals it gets, one a line, and ends at SIGUSR2.
  private static let listener = [
    "sh", "-c",
    """
    for name in TERM INT HUP USR1 QUIT; do trap "echo $name" $name; done
    trap 'exit 9' USR2; echo $$; while :; do sleep 0.01; done
    """,
  ]

  private func listen(
    _ options: [String] = [], on server: RedisServer, environment: [String: String] = [:]
  ) async throws -> ManagedProcess {
    let process = try await Paasbus.wrap(
      Self.listener, options: options, on: server, environment: environment)
    try await eventually("it listens") { !process.lines.isEmpty }
    return process
  }

  @Test("SIGTERM is passed on once however often it comes, others each time; the first says so")
  func forwarding() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let process = try await listen(on: server)
      for signal in [SIGUSR1, SIGHUP, SIGUSR1, SIGTERM, SIGTERM, SIGINT, SIGINT, SIGTERM] {
        let before = process.lines.count
        let isRepeated = signal == SIGTERM && process.output.contains("TERM")
        process.signal(signal)
        if isRepeated {
          try await pass(.milliseconds(100))
          #expect(process.lines.count == before)
        } else {
          try await eventually("it comes") { process.lines.count == before + 1 }
        }
      }
      process.signal(SIGUSR2)
      #expect(try await process.exitStatus() == 9)
      #expect(process.lines.dropFirst() == ["USR1", "HUP", "USR1", "TERM", "INT", "INT"])
      let stop = try await watch.waitFor("stop").first
      #expect(stop?["reason"] == .string("SIGTERM") && stop?["exit"] == .number(9))
      #expect(
        watch.objects.map { $0["type"] } == ["start", "stopping", "stop"].map { .string($0) })
      #expect(watch.objects(ofType: "stopping").first?["reason"] == .string("SIGTERM"))
    }
  }

  @Test(
    "where signals are not passed on, the others are told all the same",
    arguments: [(["--no-forward"], [:]), ([], ["DYNO": "web.1"])])
  func noForwarding(options: [String], environment: [String: String]) async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch("--app", "default", on: server)
      let process = try await listen(
        options + ["--app", "default"], on: server, environment: environment)
      process.signal(SIGTERM)
      process.signal(SIGUSR2)
      _ = try await watch.waitFor("stopping")
      #expect(process.isRunning && process.lines.count == 1)
      kill(try process.wrappedID, SIGUSR2)
      #expect(try await process.exitStatus() == 9)
    }
  }

  @Test("a command that ignores SIGTERM is waited for, as long as the platform waits")
  func ignoresTermination() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let process = try await Paasbus.wrap(
        ["sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.05; done"],
        options: ["--lease", "2s"], on: server)
      try await eventually("it is there") { !process.lines.isEmpty }
      process.signal(SIGTERM)
      _ = try await watch.waitFor("stopping")
      try await pass(.seconds(3))
      #expect(process.isRunning)
      let list = try Paasbus.start("list", on: server)
      _ = try await list.exitStatus()
      #expect(list.output.contains("1 stopping"))
      kill(try process.wrappedID, SIGKILL)
      #expect(try await process.exitStatus() == 137)
      let stop = try await watch.waitFor("stop").first
      #expect(stop?["reason"] == .string("SIGTERM") && stop?["signal"] == .string("SIGKILL"))
    }
  }

  @Test("if we are killed, the command gets SIGTERM, and the others hear that it is lost")
  func killedOurselves() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let folder = server.folder.appending(path: "told").path
      let process = try await Paasbus.wrap(
        [
          "sh", "-c",
          "trap 'echo TERM > \(folder); exit' TERM; echo ready; while :; do sleep 0.05; done",
        ],
        options: ["--lease", "2s"], on: server)
      try await eventually("it is there") { !process.lines.isEmpty }
      process.signal(SIGKILL)
      try await eventually("it was told") {
        (try? String(contentsOfFile: folder, encoding: .utf8)) == "TERM\n"
      }
      _ = try await watch.waitFor("lost")
    }
  }

  @Test("with --group everything that the command has started gets the signal")
  func group() async throws {
    try await RedisServer.with { server in
      for options in [["--group"], []] {
        let process = try await Paasbus.wrap(
          ["sh", "-c", "sleep 1000 & echo $!; trap 'exit 5' TERM; while :; do sleep 0.01; done"],
          options: options, on: server)
        try await eventually("it is there") { !process.lines.isEmpty }
        let grandchild = try #require(process.lines.first.flatMap { Int32($0) })
        process.signal(SIGTERM)
        #expect(try await process.exitStatus() == 5)
        if options.isEmpty {
          #expect(kill(grandchild, SIGKILL) == 0)
        } else {
          try await eventually("the grandchild has ended") { kill(grandchild, 0) != 0 }
        }
      }
    }
  }

  @Test("a command of many thousand words is started like any other")
  func manyWords() async throws {
    let words = (0..<20_000).map(String.init)
    let process = try Paasbus.start(
      ["announce", "-q", "--", "sh", "-c", "echo $# $1 ${20000}", "sh"] + words,
      environment: ["PAASBUS_URL": "redis://127.0.0.1:1"])
    #expect(try await process.exitStatus() == 0)
    #expect(process.output == "20000 0 19999\n")
  }

  @Test("a program that closes all its descriptors is none of our business")
  func closesAll() async throws {
    try await RedisServer.with { server in
      let process = try await Paasbus.wrap(
        ["python3", "-c", "import os; os.closerange(0, 1000); import time; time.sleep(0.3)"],
        on: server)
      #expect(try await process.exitStatus() == 0)
    }
  }
}

extension ManagedProcess {
  /// The command that it runs, which has said who it is in its first line.
  var wrappedID: Int32 {
    get throws { try #require(lines.first.flatMap { Int32($0) }) }
  }
}
