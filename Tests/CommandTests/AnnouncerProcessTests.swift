import Foundation
import TestSupport
import Testing

@Suite("The announcer of a command, in a process of its own")
struct AnnouncerProcessTests {
  @Test("one that is killed is started again, and the command does not notice")
  func killed() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let process = try await Paasbus.wrap(
        ["sh", "-c", "echo $$; trap 'exit 7' TERM; while :; do sleep 0.01; done"], on: server)
      for round in 1...3 {
        try await process.killAnnouncer()
        _ = try await watch.waitFor("back", count: round)
      }
      let start = try #require(watch.objects(ofType: "start").first)
      for back in watch.objects(ofType: "back") {
        for member in ["id", "name", "started", "pid"] { #expect(back[member] == start[member]) }
      }
      process.signal(SIGTERM)
      #expect(try await process.exitStatus() == 7)
      let stop = try await watch.waitFor("stop").first
      #expect(stop?["exit"] == .number(7) && stop?["reason"] == .string("SIGTERM"))
      #expect(watch.objects(ofType: "lost").isEmpty, "\(watch.output)")
      #expect(process.errorOutput.contains("the announcer ended (SIGKILL)"))
    }
  }

  @Test("one that is killed just as the command ends is started again for the stop")
  func killedAtTheEnd() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      for round in 1...10 {
        let process = try await Paasbus.wrap(
          ["sh", "-c", "echo $$; while :; do sleep 0.01; done"], on: server)
        let announcer = try #require(try process.announcerID)
        if round % 2 == 0 {
          kill(try process.wrappedID, SIGKILL)
          kill(announcer, SIGKILL)
        } else {
          kill(announcer, SIGKILL)
          kill(try process.wrappedID, SIGKILL)
        }
        #expect(try await process.exitStatus() == 137)
        let stops = try await watch.waitFor("stop", count: round)
        #expect(stops.last?["signal"] == .string("SIGKILL"))
      }
      #expect(watch.objects(ofType: "stop").count == 10)
    }
  }

  @Test("one that stands still delays the end by the time for the stop, and nothing else")
  func frozen() async throws {
    try await RedisServer.with { server in
      let process = try await Paasbus.wrap(
        ["sh", "-c", "trap 'echo TERM; exit 3' TERM; while :; do sleep 0.01; done"],
        options: ["--stop-timeout", "1s"], on: server)
      kill(try #require(try process.announcerID), SIGSTOP)
      process.signal(SIGTERM)
      try await eventually("it is passed on") { process.output == "TERM\n" }
      #expect(try await process.exitStatus() == 3)
    }
  }

  @Test("if we are killed, the command hears SIGTERM once, and nobody a stop")
  func killedSupervisor() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let told = server.folder.appending(path: "told").path
      let process = try await Paasbus.wrap(
        [
          "sh", "-c",
          "trap 'echo TERM >> \(told)' TERM; echo $$; while [ ! -e \(told).end ]; do sleep 0.01; done",
        ], on: server)
      try await eventually("the connection is seen") {
        try await Bus(on: server).calls("client|list") > 4
      }
      let announcer = try #require(try process.announcerID)
      process.signal(SIGKILL)
      #expect(try await watch.waitFor("lost").first?["reason"] == .string("connection"))
      try await eventually("the announcer has ended") { kill(announcer, 0) != 0 }
      #expect(try String(contentsOfFile: told, encoding: .utf8) == "TERM\n")
      #expect(watch.objects(ofType: "stop").isEmpty)
      try Data().write(to: URL(filePath: told + ".end"))
      let command = try process.wrappedID
      try await eventually("the command has ended") { kill(command, 0) != 0 }
    }
  }

  @Test("where prctl is refused the command runs, and is told all the same when we are killed")
  func withoutPrctl() async throws {
    try await RedisServer.with { server in
      let plain = try Odd.start(
        Odd.withoutPrctl, [Paasbus.path, "announce", "--", "sh", "-c", "exit 3"], on: server)
      #expect(try await plain.exitStatus() == 3, "\(plain.errorOutput)")
      let told = server.folder.appending(path: "told").path
      let process = try Odd.start(
        Odd.withoutPrctl,
        [
          Paasbus.path, "announce", "--", "sh", "-c",
          "trap 'echo TERM >> \(told); exit' TERM; while :; do sleep 0.01; done",
        ], on: server)
      try await eventually("it is announced") { process.errorOutput.contains("announced ") }
      process.signal(SIGKILL)
      try await eventually("it is told") {
        (try? String(contentsOfFile: told, encoding: .utf8)) == "TERM\n"
      }
    }
  }

  @Test(
    "without /proc the command runs and is announced",
    .enabled(if: InitTests.canBePIDOne, "this machine does not let us make a mount namespace"))
  func withoutProc() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let hidden = "mount -t tmpfs none /proc && exec \"$@\""
      func run(_ words: [String]) throws -> ManagedProcess {
        try ManagedProcess(
          "unshare", ["--mount", "sh", "-c", hidden, "sh", Paasbus.path] + words,
          environment: ManagedProcess.bareEnvironment.merging(["PAASBUS_URL": server.url]) { $1 })
      }
      for round in 1...4 {
        let process = try run(["announce", "--", "sh", "-c", "exit 3"])
        #expect(try await process.exitStatus() == 3)
        _ = try await watch.waitFor("stop", count: round)
        #expect(process.errorLines.count == 1, "\(process.errorOutput)")
      }
      let list = try run(["list"])
      #expect(try await list.exitStatus() == 0)
      let other = try run(["watch"])
      #expect(try await other.exitStatus() == 78)
      #expect(other.errorLines.count == 1 && other.errorOutput.contains("mount /proc"))
    }
  }

  @Test(
    "where no process or thread can be had the command runs, unannounced, and says so in a line",
    .enabled(if: PIDLimit.isPossible, "this machine does not let us limit processes"),
    arguments: 2...6)
  func withoutThreads(limit: Int) async throws {
    try await RedisServer.with { server in
      try await PIDLimit.with { group in
        let process = try group.start(
          ["announce", "--stop-timeout", "1s", "--", "perl", "-e", "sleep 1; exit 3"],
          limit: limit, url: server.url)
        #expect(try await process.exitStatus() == 3)
        #expect((1...2).contains(process.errorLines.count), "\(process.errorOutput)")
        for command in [["announce"], ["watch"], ["list"], ["wait", "--timeout", "1s"]]
        where limit == 2 {
          let other = try group.start(command, limit: 1, url: server.url)
          #expect(try await other.exitStatus() == 78)
          #expect(other.errorLines.count == 1 && other.errorOutput.contains("threads"))
        }
      }
    }
  }

  @Test(
    "an app that uses up all processes does not keep its announcer from looking a name up",
    .enabled(if: PIDLimit.isPossible, "this machine does not let us limit processes"))
  func usedUp() async throws {
    try await RedisServer.with(usesTCP: true) { server in
      let watch = try await Paasbus.watch(on: server)
      try await PIDLimit.with { group in
        let script = """
          import os, time
          try:
              while True:
                  if os.fork() == 0: time.sleep(1000)
          except OSError: print("full", flush=True)
          time.sleep(1000)
          """
        let process = try group.start(
          ["announce", "--lease", "2s", "--", "python3", "-c", script], limit: 40,
          url: "redis://localhost:\(server.port ?? 0)")
        _ = try await watch.waitFor("start")
        try await eventually("there is no room") { process.output == "full\n" }
        try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        try await pass(.seconds(4))
        #expect(watch.objects(ofType: "lost").isEmpty, "\(watch.output)")
        process.signal(SIGTERM)
        #expect(try await process.exitStatus() == 143)
      }
    }
  }
}

@Suite("Output that nobody reads")
struct StalledOutputTests {
  @Test(
    "an announcer whose remarks nobody reads beats and ends",
    arguments: [
      ["announce", "--lease", "2s", "--", "sleep", "100"], ["announce", "--lease", "2s"],
    ])
  func announcing(words: [String]) async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let process = try Odd.start(Odd.stalled, ["2", Paasbus.path] + words, on: server)
      _ = try await watch.waitFor("start")
      for _ in 1...2 {
        try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        try await pass(.seconds(3))
      }
      #expect(watch.objects(ofType: "lost").isEmpty, "\(watch.output)")
      let asked = ContinuousClock.now
      process.signal(SIGTERM)
      #expect(try await process.exitStatus() == (words.contains("--") ? 143 : 0))
      #expect(ContinuousClock.now - asked < .seconds(3))
      _ = try await watch.waitFor("stop")
    }
  }

  @Test(
    "a reader whose output nobody reads ends at a signal",
    arguments: [
      ["watch"], ["watch", "--json"], ["subscribe", "instances"],
      ["wait", "--count", "5", "--timeout", "1h"], ["history", "--since", "1h"],
    ], [SIGTERM, SIGINT])
  func reading(words: [String], signal: Int32) async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      try await bus.publish(100)
      let gets = try await bus.calls("hmget")
      let options = words[0] == "subscribe" ? [] : ["--app", "default"]
      let process = try Odd.start(Odd.stalled, ["12", Paasbus.path] + words + options, on: server)
      if words[0] != "subscribe" {
        try await eventually("it reads") { try await bus.calls("hmget") > gets }
      } else {
        try await bus.awaitWatchers(1)
      }
      try await bus.publish(100)
      try await pass(.milliseconds(300))
      process.signal(signal)
      let status = try await process.exitStatus(within: .seconds(10))
      #expect([0, 128 + signal].contains(status))
    }
  }

  @Test(
    "what draws on a terminal that nobody reads ends at a signal",
    arguments: ["top", "watch"], [SIGTERM, SIGINT, SIGHUP])
  func drawing(command: String, signal: Int32) async throws {
    try await RedisServer.with { server in
      try await Bus(on: server).publish(100)
      let words = ["\(signal)", Paasbus.path, command, "--app", "default"]
      let process = try Odd.start(Odd.unreadTerminal, words, on: server)
      #expect(try await process.exitStatus(within: .seconds(90)) == 0, "\(process.errorOutput)")
    }
  }

  @Test("remarks that were dropped are counted by the next one that is read")
  func counted() async throws {
    try await RedisServer.with { server in
      let script = """
        import os, subprocess, sys, time
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            while True: os.write(writing, b"x" * 4096)
        except BlockingIOError: pass
        os.set_blocking(writing, True)
        child = subprocess.Popen(sys.argv[1:], stderr=writing)
        os.close(writing)
        print("ready", flush=True)
        sys.stdin.readline()
        while text := os.read(reading, 65536):
            sys.stdout.write(text.decode().replace("x", "")); sys.stdout.flush()
        """
      let fifo = server.folder.appending(path: "go").path
      let process = try ManagedProcess(
        "sh",
        [
          "-c", "mkfifo \(fifo) && exec 0<>\(fifo) && exec python3 -c \"$S\" \"$@\"", "sh",
          Paasbus.path, "announce", "--lease", "2s",
        ],
        environment: ManagedProcess.bareEnvironment.merging([
          "S": script, "PAASBUS_URL": server.url,
        ]) { $1 })
      let bus = Bus(on: server)
      try await eventually("it is up") { try await bus.present.count == 1 }
      try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      try await pass(.seconds(2))
      try Data("go\n".utf8).write(to: URL(filePath: fifo))
      try await eventually("it is read") { process.output.contains("ready") }
      try await pass(.milliseconds(300))
      server.kill()
      try await eventually("it says how many: \(process.output)") {
        process.output.contains("dropped: the output was not read")
      }
      try await server.start()
      for child in try Processes.children(of: process.processID) { kill(child, SIGTERM) }
    }
  }
}
