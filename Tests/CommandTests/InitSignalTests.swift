import Foundation
import TestSupport
import Testing

/// What tini and dumb-init do with signals, process groups and exits is expected of us as well.
@Suite("As an init: signals, groups and exits")
struct InitSignalTests {
  /// A program that says which signals it gets, and ends at SIGUSR2 with 9.
  private static let listener = """
    import os, signal, sys
    # Waited for rather than handled: one that comes between two handlers would wait for a third.
    awaited = {number for number in signal.valid_signals() if number < 32} - {signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    print(os.getpid(), flush=True)
    while True:
        number = signal.sigwait(awaited)
        if number == signal.SIGUSR2: sys.exit(9)
        print(signal.Signals(number).name, flush=True)
    """

  private func listen(
    _ options: [String] = [], on server: RedisServer
  ) async throws -> ManagedProcess {
    let process = try await Paasbus.wrap(
      ["python3", "-c", Self.listener], options: options, on: server)
    try await eventually("it listens") { !process.lines.isEmpty }
    return process
  }

  @Test("every signal that somebody sends is passed on, those of crashes too")
  func passesOn() async throws {
    try await RedisServer.with { server in
      let process = try await listen(on: server)
      let names = [
        (SIGHUP, "SIGHUP"), (SIGINT, "SIGINT"), (SIGQUIT, "SIGQUIT"), (SIGILL, "SIGILL"),
        (SIGTRAP, "SIGTRAP"), (SIGABRT, "SIGABRT"), (SIGBUS, "SIGBUS"), (SIGFPE, "SIGFPE"),
        (SIGUSR1, "SIGUSR1"), (SIGSEGV, "SIGSEGV"), (SIGPIPE, "SIGPIPE"), (SIGALRM, "SIGALRM"),
        (SIGTERM, "SIGTERM"),
        (SIGCONT, "SIGCONT"), (SIGURG, "SIGURG"), (SIGXCPU, "SIGXCPU"), (SIGXFSZ, "SIGXFSZ"),
        (SIGVTALRM, "SIGVTALRM"), (SIGPROF, "SIGPROF"), (SIGWINCH, "SIGWINCH"), (SIGIO, "SIGIO"),
        (SIGSYS, "SIGSYS"),
      ]
      for (count, (number, name)) in names.enumerated() {
        process.signal(number)
        try await eventually("\(name) comes: \(process.output)") {
          process.lines.count == count + 2
        }
        #expect(process.lines.last == name || (name == "SIGIO" && process.lines.last == "SIGPOLL"))
      }
      process.signal(SIGUSR2)
      #expect(try await process.exitStatus() == 9)
    }
  }

  @Test("--signal sends another one than came, or none, and the reason stays what came")
  func rewrites() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let process = try await listen(
        ["--signal", "TERM=QUIT", "--signal", "SIGHUP=1", "--signal", "10="], on: server)
      for (number, name) in [(SIGHUP, "SIGHUP"), (SIGUSR1, nil), (SIGTERM, "SIGQUIT")] {
        let count = process.lines.count
        process.signal(number)
        guard let name else { continue }
        try await eventually("\(name) comes") { process.lines.count == count + 1 }
        #expect(process.lines.last == name)
      }
      process.signal(SIGUSR2)
      #expect(try await process.exitStatus() == 9)
      #expect(try await watch.waitFor("stop").first?["reason"] == .string("SIGTERM"))
      #expect(process.lines.dropFirst() == ["SIGHUP", "SIGQUIT"])
    }
  }

  @Test(
    "what is no signal or no status is refused",
    arguments: [
      ["--signal", "TERM"], ["--signal", "TERM=NONE"], ["--signal", "=TERM"],
      ["--signal", "KILL=TERM"], ["--signal", "TERM=INT", "--signal", "15=2"],
      ["--ok-exit", "256"], ["--ok-exit", "x"],
    ])
  func refused(options: [String]) async throws {
    let process = try Paasbus.start(
      ["announce"] + options + ["--", "true"], environment: ["PAASBUS_URL": "redis://127.0.0.1:1"])
    #expect(try await process.exitStatus() == 64)
    #expect(process.errorLines.count == 1 && process.errorOutput.contains("--"))
  }

  @Test("--ok-exit makes 0 of a status, and the bus hears what it was")
  func acceptedExit() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let options = ["--ok-exit", "143", "--ok-exit", "3"]
      let killed = try await Paasbus.wrap(["sleep", "100"], options: options, on: server)
      killed.signal(SIGTERM)
      #expect(try await killed.exitStatus() == 0)
      #expect(try await watch.waitFor("stop").first?["exit"] == .number(143))
      for (status, expected) in [(3, 0), (4, 4)] as [(Int, Int32)] {
        let process = try await Paasbus.wrap(
          ["sh", "-c", "sleep 0.3; exit \(status)"], options: options, on: server)
        #expect(try await process.exitStatus() == expected)
      }
    }
  }

  @Test("a stop signal stops the command, us and the beats, and a continue continues all")
  func stopAndContinue() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      for (round, number) in [SIGTSTP, SIGTTIN, SIGTTOU].enumerated() {
        let process = try await Paasbus.wrap(
          ["sh", "-c", "echo $$; while :; do sleep 0.01; done"], options: ["--lease", "2s"],
          on: server)
        let announcer = try #require(try process.announcerID)
        let all = [try process.wrappedID, process.processID, announcer]
        process.signal(number)
        try await eventually("all have stopped") {
          all.allSatisfy { Processes.state(of: $0) == "T" }
        }
        _ = try await watch.waitFor("lost", count: round + 1)
        process.signal(SIGCONT)
        try await eventually("all go on") { all.allSatisfy { Processes.state(of: $0) != "T" } }
        _ = try await watch.waitFor("back", count: round + 1)
        process.signal(SIGTERM)
        #expect(try await process.exitStatus() == 143)
      }
    }
  }

  @Test(
    "a terminal that closes tells only us where we lead its session, and so the command hears it")
  func sessionLeader() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let told = server.folder.appending(path: "told").path
      let app = "trap 'echo HUP > \(told); exit 4' HUP; echo ready; while :; do sleep 0.01; done"
      let command = "exec \(Paasbus.path) announce -- sh -c \"\(app)\""
      try await Terminal.with(command, environment: ["PAASBUS_URL": server.url]) { terminal in
        try await terminal.expect("ready")
        _ = try await watch.waitFor("start")
      }
      #expect(try await watch.waitFor("stop").first?["exit"] == .number(4))
      #expect(try String(contentsOfFile: told, encoding: .utf8) == "HUP\n")
    }
  }

  @Test("a timer that was set before us rings for the command")
  func alarm() async throws {
    try await RedisServer.with { server in
      let script = "import os, signal, sys; signal.alarm(1); os.execv(sys.argv[1], sys.argv[1:])"
      let process = try Odd.start(
        script, [Paasbus.path, "announce", "-q", "--", "sleep", "30"], on: server)
      #expect(try await process.exitStatus() == 128 + SIGALRM)
    }
  }

  @Test("with --group what is left of the command's group is asked to end when the command has")
  func restOfTheGroup() async throws {
    try await RedisServer.with { server in
      let process = try await Paasbus.wrap(
        ["sh", "-c", "(trap 'echo TERM' TERM; sleep 1000) & echo $!; sleep 0.5; exit 5"],
        options: ["--group"], on: server)
      #expect(try await process.exitStatus() == 5)
      let left = try #require(process.lines.first.flatMap { Int32($0) })
      try await eventually("it has ended") { kill(left, 0) != 0 }
    }
  }

  @Test("--subreaper reaps orphans also where we are not process 1")
  func subreaper() async throws {
    try await RedisServer.with { server in
      for isReaper in [true, false] {
        let process = try await Paasbus.wrap(
          ["sh", "-c", "sh -c 'sleep 1000 & echo $!'; exec sleep 1000"],
          options: isReaper ? ["--subreaper"] : [], on: server)
        try await eventually("it is an orphan") { !process.lines.isEmpty }
        let orphan = try #require(process.lines.first.flatMap { Int32($0) })
        try await eventually("its parent is known") {
          try Processes.children(of: process.processID).contains(orphan) == isReaper
        }
        kill(orphan, SIGKILL)
        try await eventually("it is reaped") { kill(orphan, 0) != 0 }
        process.signal(SIGTERM)
        #expect(try await process.exitStatus() == 143)
      }
    }
  }

  @Test("neither of our processes keeps a folder busy, and relative files are still found")
  func folder() async throws {
    try await RedisServer.with { server in
      let process = try ManagedProcess(
        "sh",
        [
          "-c",
          "cd \(server.folder.path) && exec \(Paasbus.path) announce -- sh -c 'pwd; exec sleep 100'",
        ],
        environment: ManagedProcess.bareEnvironment.merging(["PAASBUS_URL": server.url]) { $1 })
      try await eventually("it is announced") { process.errorOutput.contains("announced ") }
      #expect(process.output == server.folder.path + "\n")
      for id in [process.processID, try #require(try process.announcerID)] {
        let folder = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(id)/cwd")
        #expect(folder == "/")
      }
      process.signal(SIGTERM)
      _ = try await process.exitStatus()
    }
  }

  @Test("variables of systemd that named us name the command, and others stay as they are")
  func ownID() async throws {
    let names = ["LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"]
    let show = #"sh -c 'echo $$ $LISTEN_PID $WATCHDOG_PID $SYSTEMD_EXEC_PID'"#
    for (value, isOurs) in [("$$", true), ("1", false)] {
      let variables = names.map { "\($0)=\(value)" }.joined(separator: " ")
      let process = try ManagedProcess(
        "sh", ["-c", "export \(variables); exec \(Paasbus.path) announce -q -- \(show)"],
        environment: ManagedProcess.bareEnvironment.merging([
          "PAASBUS_URL": "redis://127.0.0.1:1"
        ]) { $1 })
      #expect(try await process.exitStatus() == 0)
      let words = process.output.split(whereSeparator: \.isWhitespace)
      #expect(words.count == 4)
      #expect(words.dropFirst().allSatisfy { isOurs ? $0 == words[0] : $0 == "1" }, "\(words)")
    }
  }

  @Test("sockets of systemd reach the command, which counts them as its own")
  func socketActivation() async throws {
    try await RedisServer.with { server in
      let port = try RedisServer.freePort()
      let app = """
        import os, socket
        assert int(os.environ["LISTEN_PID"]) == os.getpid()
        count = int(os.environ["LISTEN_FDS"])
        connection, _ = socket.socket(fileno=3).accept()
        connection.sendall(b"%d sockets" % count)
        """
      let process = try ManagedProcess(
        "systemd-socket-activate",
        [
          "-l", "127.0.0.1:\(port)", "-E", "PAASBUS_URL=\(server.url)", Paasbus.path, "announce",
          "--", "python3", "-c", app,
        ])
      let client = """
        import socket, sys, time
        while True:
            try:
                print(socket.create_connection(("127.0.0.1", \(port))).recv(100).decode())
                break
            except ConnectionRefusedError: time.sleep(0.01)
        """
      let asked = try ManagedProcess("python3", ["-c", client])
      #expect(try await asked.exitStatus() == 0)
      #expect(asked.output == "1 sockets\n", "\(process.errorOutput)")
      #expect(try await process.exitStatus() == 0)
    }
  }

  @Test("bash, vim and less behind us in a terminal do as without us")
  func interactive() async throws {
    try await RedisServer.with { server in
      try await Shell.with(on: server) { terminal in
        try await terminal.enter("$A -- env PS1='in''ner> ' bash --norc --noprofile -i")
        try await terminal.expect("inner>")
        try await terminal.enter("sleep 1013")
        try await eventually("it runs") { Processes.haveTerminal("sleep 1013") }
        try await terminal.press("C-z")
        try await terminal.expect("Stopped")
        try await terminal.enter("jobs; kill %1; fg; echo in $((6*7))")
        try await terminal.expect("in 42")
        try await terminal.enter("exit 3")
        try await terminal.awaitPrompt()
        try await terminal.enter("echo status $?")
        try await terminal.expect("status 3")
        try await terminal.enter("seq 100 | $A -- less")
        try await terminal.expect("\n:")
        try await terminal.press("G")
        try await terminal.expect("(END)")
        try await terminal.press("q")
        try await terminal.expectUsualMode()
        let file = server.folder.appending(path: "text").path
        try await terminal.enter("clear; $A -- vim.tiny -u NONE -N \(file)")
        try await terminal.expect("~")
        try await terminal.type("ihello")
        try await terminal.press("Escape")
        try await terminal.press("C-z")
        try await terminal.expect("Stopped")
        try await terminal.enter("fg")
        try await terminal.expect("hello")
        try await terminal.enter(":wq")
        try await terminal.expectUsualMode()
        #expect(try String(contentsOfFile: file, encoding: .utf8) == "hello\n")
      }
    }
  }
}
