import Foundation
import TestSupport
import Testing

@Suite("As process 1")
struct InitTests {
  /// Whether this machine lets us make a PID namespace.
  static let canBePIDOne: Bool = {
    (try? ManagedProcess("unshare", ["--pid", "--fork", "true"]).hasSucceeded) ?? false
  }()

  /// Runs `announce -- words` as process 1 of a namespace of its own.
  private func runAsInit(
    _ words: [String], options: [String] = [], on server: RedisServer
  ) throws -> ManagedProcess {
    try ManagedProcess(
      "unshare",
      ["--pid", "--fork", "--mount-proc", Paasbus.path, "announce", "-q"] + options + ["--"]
        + words,
      environment: ManagedProcess.bareEnvironment.merging(["PAASBUS_URL": server.url]) { $1 })
  }

  @Test(
    "thousands of orphans are reaped, and the command's status is not lost among them",
    .enabled(if: canBePIDOne, "this machine does not let us make a PID namespace"))
  func orphans() async throws {
    try await RedisServer.with { server in
      // Each child ends at once, and its own, which it leaves behind, becomes an orphan.
      let script = """
        i=0; while [ $i -lt 3000 ]; do (: &); i=$((i + 1)); done
        tries=0; zombies=1
        while [ $tries -lt 500 ] && [ $zombies -gt 0 ]; do
          zombies=$(cat /proc/[0-9]*/status 2>/dev/null | grep -c '^State:.Z')
          tries=$((tries + 1))
        done
        echo $zombies $PPID; exit 17
        """
      let process = try runAsInit(["sh", "-c", script], on: server)
      #expect(try await process.exitStatus(within: .seconds(90)) == 17)
      #expect(process.output == "0 1\n", "\(process.output) \(process.errorOutput)")
    }
  }

  @Test(
    "signals reach the command through process 1",
    .enabled(if: canBePIDOne, "this machine does not let us make a PID namespace"))
  func signals() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let script = "trap 'echo TERM; exit 6' TERM; kill -TERM 1; while :; do sleep 0.01; done"
      let process = try runAsInit(["sh", "-c", "sleep 0.3; \(script)"], on: server)
      #expect(try await process.exitStatus() == 6)
      #expect(process.output == "TERM\n")
      let stop = try await watch.waitFor("stop").first
      #expect(stop?["reason"] == .string("SIGTERM") && stop?["exit"] == .number(6))
      #expect(stop?["pid"] == .number(1))
    }
  }
}

extension InitTests {
  @Test(
    "with --group the rest of the command's group gets time to end before process 1 does",
    .enabled(if: canBePIDOne, "this machine does not let us make a PID namespace"))
  func restOfTheGroup() async throws {
    try await RedisServer.with { server in
      let rest = "trap 'sleep 0.5; echo ended; exit' TERM; echo ready; while :; do sleep 0.01; done"
      let process = try runAsInit(
        ["sh", "-c", "(\(rest)) & sleep 0.5; exit 5"], options: ["--group"], on: server)
      #expect(try await process.exitStatus() == 5)
      #expect(process.output == "ready\nended\n")
    }
  }

  @Test(
    "a stop signal to process 1 stops the command and pauses the beats",
    .enabled(if: canBePIDOne, "this machine does not let us make a PID namespace"))
  func stopped() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let process = try runAsInit(
        ["sh", "-c", "while [ ! -e \(server.folder.path)/end ]; do sleep 0.01; done; echo ended"],
        options: ["--lease", "2s"], on: server)
      _ = try await watch.waitFor("start")
      let namespace = try #require(try Processes.children(of: process.processID).first)
      kill(namespace, SIGTSTP)
      _ = try await watch.waitFor("lost")
      kill(namespace, SIGCONT)
      _ = try await watch.waitFor("back")
      try Data().write(to: server.folder.appending(path: "end"))
      #expect(try await process.exitStatus() == 0)
      #expect(process.output == "ended\n")
    }
  }
}

@Suite("announce --pid")
struct FollowTests {
  @Test("the end of the process is told at once, and its signals as draining")
  func follows() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      for isAsked in [false, true] {
        let app = try ManagedProcess("sleep", ["1000"])
        let announce = try await Paasbus.announce("--pid", "\(app.processID)", on: server)
        if isAsked {
          announce.signal(SIGTERM)
          announce.signal(SIGTERM)
          _ = try await watch.waitFor("stopping")
          try await pass(.milliseconds(200))
          #expect(announce.isRunning)
        }
        app.signal(SIGKILL)
        #expect(try await announce.exitStatus() == 0)
        app.waitForEnd()
        let stop = try await watch.waitFor("stop", count: isAsked ? 2 : 1).last
        #expect(stop?["reason"] == .string(isAsked ? "SIGTERM" : "pid-gone"))
        #expect(stop?["pid"] == .number(Int64(app.processID)))
      }
      #expect(watch.objects(ofType: "stopping").count == 1)
    }
  }

  @Test("in a start script, before exec: the app is followed by the shell's id")
  func startScript() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let script = "\(Paasbus.path) announce -q --name app --pid $$ & exec sleep 1000"
      let app = try ManagedProcess(
        "sh", ["-c", script],
        environment: ManagedProcess.bareEnvironment.merging(["PAASBUS_URL": server.url]) { $1 })
      let start = try await watch.waitFor("start").first
      #expect(start?["pid"] == .number(Int64(app.processID)))
      app.signal(SIGTERM)
      let stop = try await watch.waitFor("stop").first
      #expect(stop?["reason"] == .string("pid-gone"))
    }
  }

  @Test(
    "a process that cannot be followed ends in one clear line",
    arguments: [
      ("4194304", "no process"), ("0", "id of a process"), ("x", "--pid"), ("-5", "--pid"),
    ])
  func refused(id: String, says text: String) async throws {
    let process = try Paasbus.start(
      ["announce", "--pid=\(id)"], environment: ["PAASBUS_URL": "redis://127.0.0.1:1"])
    #expect(try await process.exitStatus() == 64)
    #expect(process.errorLines.count == 1 && process.errorOutput.contains(text))
  }

  @Test(
    "paasbus itself, and a process that has ended and that nobody has looked after, are refused")
  func selfAndZombie() async throws {
    let program = Paasbus.path
    let own = try ManagedProcess("sh", ["-c", "exec \(program) announce --pid $$"])
    #expect(try await own.exitStatus() == 64)
    #expect(own.errorOutput.contains("is paasbus itself"))
    let script = """
      import os, subprocess, sys
      child = os.fork()
      if child == 0: os._exit(0)
      os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
      sys.exit(subprocess.run(["\(program)", "announce", "--pid", str(child)]).returncode)
      """
    let zombie = try ManagedProcess("python3", ["-c", script])
    #expect(try await zombie.exitStatus() == 64)
    #expect(zombie.errorOutput.contains("there is no process"))
  }

  @Test("process 1 is warned about")
  func processOne() async throws {
    try await RedisServer.with { server in
      let process = try Paasbus.start("announce", "--pid", "1", on: server)
      // As root it may be followed; as anybody else it is another user's.
      try await eventually("it is said") { process.errorOutput.contains("when process 1 ends") }
      process.signal(SIGKILL)
    }
  }

  @Test("what does not go together is refused")
  func usage() async throws {
    for words in [
      ["--pid", "1", "--", "true"], ["--group"], ["--no-forward"], ["--", ""], ["--"],
    ] {
      let process = try Paasbus.start(
        ["announce"] + words, environment: ["PAASBUS_URL": "redis://127.0.0.1:1"])
      #expect(try await process.exitStatus() == 64, "\(words)")
      #expect(process.errorLines.count == 1)
    }
  }
}
