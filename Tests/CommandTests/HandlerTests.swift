import Foundation
import PaasbusRedis
import TestSupport
import Testing

@testable import Presence

@Suite("watch --exec --handler")
struct HandlerTests {
  /// A server, and a file to which handlers write a line for each event.
  private struct Site {
    let server: RedisServer
    var file: String { server.folder.appending(path: "handled").path }
    var bus: Bus { Bus(on: server) }

    /// What was handled, in order.
    var handled: [String] {
      let text = try? String(contentsOfFile: file, encoding: .utf8)
      return (text ?? "").split(separator: "\n").map(String.init)
    }

    /// A watch whose handler writes the number of each event, unless `script` says otherwise.
    func watch(
      _ words: String..., script: String = "echo $PAASBUS_EVENT_SEQ"
    ) async throws -> ManagedProcess {
      let watch = try Paasbus.start(
        ["watch", "--json", "--app", "default", "--handler", "pager"]
          + ["--exec", "{ \(script) ; } >> \(file)"] + words,
        on: server, environment: ["FOLDER": server.folder.path])
      try await eventually("it watches: \(watch.errorOutput)") {
        watch.errorOutput.contains("watching ") && watch.errorOutput.contains("the handler pager")
      }
      return watch
    }

    func expect(_ numbers: [Int]) async throws {
      try await eventually("\(numbers.count) are handled: \(handled)", within: .seconds(60)) {
        handled.count >= numbers.count
      }
      #expect(handled == numbers.map(String.init))
    }

    /// How far the handler is, as `history` says.
    func standing() async throws -> [String: JSONValue] {
      let history = try await history("--json")
      #expect(history.objects.count == 1, "\(history.errorOutput)")
      return history.objects.first ?? [:]
    }

    /// Waits until the bus knows that all is handled; a watch that ends before handles the last event again.
    func awaitMoved() async throws {
      try await eventually("the position has moved past all") {
        try await standing()["behind"] == .number(0)
      }
    }

    func history(_ words: String..., handler: String = "pager") async throws -> ManagedProcess {
      let history = try Paasbus.start(
        ["history", "--app", "default", "--handler", handler] + words, on: server)
      _ = try await history.exitStatus()
      return history
    }
  }

  private func with(_ body: (Site) async throws -> Void) async throws {
    try await RedisServer.with { try await body(Site(server: $0)) }
  }

  /// Runs `body` with an owner that stands still, and another watch that has taken over and handled event 3.
  private func withSuspendedOwner(
    _ body: (Site, ManagedProcess, ManagedProcess) async throws -> Void
  ) async throws {
    try await with { site in
      let owner = try await site.watch()
      let other = try await site.watch()
      try await site.bus.publish(1)
      try await site.expect([1])
      try await site.awaitMoved()
      owner.signal(SIGSTOP)
      try await site.bus.publish(2)
      try await site.expect([1, 2, 3])
      try await body(site, owner, other)
    }
  }

  private func end(_ watch: ManagedProcess) async throws {
    watch.signal(SIGTERM)
    #expect(try await watch.exitStatus() == 0, "\(watch.errorOutput)")
  }

  @Test("a watch that is started again goes on where the name stopped")
  func goesOn() async throws {
    try await with { site in
      try await site.bus.publish(2)
      let first = try await site.watch()
      try await site.bus.publish(2)
      try await site.expect([3, 4])
      try await site.awaitMoved()
      try await end(first)
      try await site.bus.publish(3)
      // What the name has handled, --since does not bring back.
      let second = try await site.watch("--since", "all")
      try await site.expect([3, 4, 5, 6, 7])
      try await end(second)
    }
  }

  @Test("a new name begins with the past if that was asked for")
  func since() async throws {
    try await with { site in
      try await site.bus.publish(3)
      let watch = try await site.watch("--since", "all", "--only", "start")
      try await site.expect([1, 2, 3])
      try await end(watch)
    }
  }

  @Test("of several watches with one name one handles the events")
  func several() async throws {
    try await with { site in
      var watches: [ManagedProcess] = []
      for _ in 0..<3 { watches.append(try await site.watch()) }
      #expect(watches.map { $0.errorOutput.contains("standing by") } == [false, true, true])
      try await site.bus.publish(20)
      try await site.expect(Array(1...20))
      try await site.awaitMoved()
      // The others have nothing to do, until the owner leaves.
      try await end(watches.removeFirst())
      try await site.bus.publish(20)
      try await site.expect(Array(1...40))
      for watch in watches { try await end(watch) }
    }
  }

  @Test("another watch takes over from one that was killed, and that one's event is handled again")
  func killed() async throws {
    try await with { site in
      let script = """
        echo $PAASBUS_EVENT_SEQ
        while [ $PAASBUS_EVENT_SEQ != 1 -a ! -e $FOLDER/go ]; do sleep 0.05; done
        """
      let owner = try await site.watch(script: script)
      let other = try await site.watch(script: script)
      try await site.bus.publish(2)
      try await site.expect([1, 2])
      owner.signal(SIGKILL)
      _ = try await owner.exitStatus()
      try Data().write(to: site.server.folder.appending(path: "go"))
      try await site.bus.publish(1)
      try await site.expect([1, 2, 2, 3])
      try await other.waitToSay("running the handler pager")
      try await end(other)
    }
  }

  @Test(
    "an owner that stood still for longer than its time leaves the handler to the one who took over"
  )
  func suspended() async throws {
    try await withSuspendedOwner { site, owner, other in
      owner.signal(SIGCONT)
      try await eventually("it stands by") { owner.errorOutput.contains("standing by") }
      try await site.bus.publish(2)
      try await site.expect([1, 2, 3, 4, 5])
      for watch in [owner, other] { try await end(watch) }
    }
  }

  @Test("a handler that fails is run again as often as was asked for, then passed over")
  func failing() async throws {
    try await with { site in
      let script = "echo $PAASBUS_EVENT_SEQ; [ $PAASBUS_EVENT_SEQ != 1 ]"
      let watch = try await site.watch("--exec-retries", "2", script: script)
      try await site.bus.publish(2)
      try await eventually("it has failed") {
        try await site.standing()["tries"] == .number(1)
      }
      try await site.expect([1, 1, 1, 2])
      try await watch.waitToSay("exit code 1: trying again (2 of 2)")
      try await watch.waitToSay("exit code 1: passing over the event")
      try await site.awaitMoved()
      #expect(try await site.standing()["tries"] == .number(0))
      try await end(watch)
    }
  }

  @Test("a failure is counted across restarts")
  func failingAcrossRestarts() async throws {
    try await with { site in
      let script = "echo $PAASBUS_EVENT_SEQ; [ $PAASBUS_EVENT_SEQ != 1 ]"
      let first = try await site.watch("--exec-retries", "5", script: script)
      try await site.bus.publish(1)
      try await eventually("it has failed twice") {
        try await site.standing()["tries"] == .number(2)
      }
      try await end(first)
      let failures = site.handled.count
      let second = try await site.watch("--exec-retries", "\(failures)", script: script)
      try await site.awaitMoved()
      #expect(site.handled.count - failures <= 2, "\(site.handled)")
      try await end(second)
    }
  }

  @Test("a watch that is told to end ends its handler and leaves the event to the next one")
  func ended() async throws {
    try await with { site in
      let script = "echo $PAASBUS_EVENT_SEQ; [ -e $FOLDER/go ] || exec sleep 1006"
      let first = try await site.watch(script: script)
      try await site.bus.publish(1)
      try await site.expect([1])
      try await end(first)
      #expect(Processes.states("sleep 1006").isEmpty)
      #expect(try await site.standing()["owner"] == nil)
      try Data().write(to: site.server.folder.appending(path: "go"))
      let second = try await site.watch(script: script)
      try await site.expect([1, 1])
      #expect(try await site.standing()["tries"] == .number(0))
      try await end(second)
    }
  }

  @Test("after all data was lost it goes on with the first event of the new bus")
  func lost() async throws {
    try await with { site in
      let (owner, other) = (try await site.watch(), try await site.watch())
      try await site.bus.publish(3)
      try await site.expect([1, 2, 3])
      try await site.server.command("FLUSHALL")
      try await site.bus.publish(2)
      try await site.expect([1, 2, 3, 1, 2])
      try await owner.waitToSay("the bus has lost data")
      for watch in [owner, other] { try await end(watch) }
    }
  }

  @Test("an outage while a handler runs delays the next event and repeats none")
  func outage() async throws {
    try await with { site in
      let script =
        "echo $PAASBUS_EVENT_SEQ; while [ ! -e $FOLDER/go ]; do sleep 0.01; done"
      let watch = try await site.watch(script: script)
      try await site.bus.publish(3)
      try await site.expect([1])
      try await site.server.cli("CLIENT", "KILL", "TYPE", "normal")
      try await site.server.cli("CLIENT", "PAUSE", "1000")
      try Data().write(to: site.server.folder.appending(path: "go"))
      try await site.expect([1, 2, 3])
      try await end(watch)
    }
  }

  @Test("events that the history no longer holds are told")
  func gap() async throws {
    try await with { site in
      let first = try await site.watch()
      try await site.bus.publish(1, history: 10)
      try await site.expect([1])
      try await site.awaitMoved()
      try await end(first)
      // A stream is trimmed by whole nodes of 100 entries.
      try await site.bus.publish(500, history: 10)
      let second = try await site.watch()
      try await eventually("the rest is handled") { site.handled.last == "501" }
      try await second.waitToSay("the history no longer holds")
      try await end(second)
    }
  }

  @Test("only what was asked for is handled, and the position moves past the rest")
  func filter() async throws {
    try await with { site in
      let watch = try await site.watch("--only", "stop")
      let instance = try await Paasbus.announce("--name", "one", on: site.server)
      try await site.bus.publish(3)
      try await site.awaitMoved()
      #expect(site.handled == [])
      instance.signal(SIGTERM)
      try await site.expect([5])
      try await end(watch)
    }
  }

  @Test("where it stands is told in words too, and what cannot be told is an error")
  func standing() async throws {
    try await with { site in
      let none = try await site.history()
      #expect(none.errorOutput.contains("no instance has ever announced itself"))
      try await site.bus.publish(1)
      let watch = try await site.watch()
      try await site.bus.publish(1)
      try await site.expect([2])
      let unknown = try await site.history(handler: "mailer")
      #expect(try await unknown.exitStatus() == 1)
      #expect(unknown.errorOutput.hasSuffix("the handlers are pager\n"))
      try await eventually("it is past it") {
        try await site.history().lines
          == ["pager: at event 2 of 2, all events are handled, a watch runs it"]
      }
      try await end(watch)
      try await site.bus.publish(2)
      #expect(
        try await site.history().lines
          == ["pager: at event 2 of 4, 2 events are still to be handled, no watch runs it"])
      let forget = try Paasbus.start(
        "forget", "--all", "--yes", "--app", "default", on: site.server)
      #expect(try await forget.exitStatus() == 0)
      #expect(try await site.server.command("EXISTS", site.bus.keys.handlers).integer == 0)
    }
  }

  @Test("an owner that comes back after its time goes on where the others stopped")
  func comesBack() async throws {
    try await withSuspendedOwner { site, owner, other in
      try await site.awaitMoved()
      try await end(other)
      owner.signal(SIGCONT)
      try await site.bus.publish(1)
      try await site.expect([1, 2, 3, 4])
      try await site.awaitMoved()
      #expect(site.handled == ["1", "2", "3", "4"])
      try await end(owner)
    }
  }

  @Test(
    "a handler gets the whole event and its end on standard input, and leaves no descriptor open")
  func input() async throws {
    try await with { site in
      let watch = try await site.watch(script: "cat")
      func descriptors() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(watch.processID)/fd").count
      }
      try await site.bus.publish(1)
      try await eventually("it is handled") { site.handled.count == 1 }
      try await site.awaitMoved()
      let before = try descriptors()
      try await site.bus.publish(5)
      try await eventually("all are handled") { site.handled.count == 6 }
      try await site.awaitMoved()
      #expect(site.handled.last?.hasSuffix("}") == true)
      #expect(try descriptors() <= before)
      try await end(watch)
    }
  }

  @Test("a watch whose output is not read still runs its handler")
  func unread() async throws {
    try await with { site in
      let watch = try await site.watch("--exec-timeout", "1h")
      try await site.bus.publish(1)
      try await site.expect([1])
      let stalled = try ManagedProcess(
        "/bin/sh",
        [
          "-c", "\"$0\" \"$@\" | sleep 1007", Paasbus.path, "watch", "--json", "--app", "default",
          "--handler", "other", "--exec", "echo $PAASBUS_EVENT_SEQ >> \(site.file).other",
        ],
        environment: ManagedProcess.bareEnvironment.merging(["PAASBUS_URL": site.server.url]) { $1 }
      )
      try await eventually("it runs") { stalled.errorOutput.contains("running the handler other") }
      // More than a pipe holds.
      try await site.bus.publish(60, size: 4000)
      try await eventually("all are handled", within: .seconds(60)) {
        let text = try String(contentsOfFile: site.file + ".other", encoding: .utf8)
        return text.split(separator: "\n").last == "61"
      }
      stalled.signal(SIGTERM)
      for process in Processes.ids(of: "sleep 1007") { kill(process, SIGTERM) }
      _ = try await stalled.exitStatus()
      try await end(watch)
    }
  }

  @Test(
    "what is no record, or has an end that no owner can have, keeps nobody from handling",
    arguments: ["", "rubbish", "1 2 3", "- - x 99999999999999999999 0", "- - x 9000000000000 0"])
  func strange(record: String) async throws {
    try await with { site in
      try await site.bus.publish(1)
      try await site.server.command("HSET", site.bus.keys.handlers, "pager", record)
      let watch = try await site.watch()
      try await site.bus.publish(1)
      try await eventually("it is handled") { site.handled.last == "2" }
      try await end(watch)
    }
  }

  @Test("a number of failures that nobody counted is borne")
  func manyFailures() async throws {
    try await with { site in
      try await site.bus.publish(1)
      let epoch = try await site.bus.position?.epoch ?? 0
      try await site.server.command(
        "HSET", site.bus.keys.handlers, "pager", "\(epoch) 0 - 0 \(Int64.max)")
      let watch = try await site.watch(
        script: "echo $PAASBUS_EVENT_SEQ; [ $PAASBUS_EVENT_SEQ != 1 ]")
      try await site.bus.publish(1)
      try await site.expect([1, 2])
      try await end(watch)
    }
  }

  @Test("what the server refuses in mid-life is told, and waited out")
  func refused() async throws {
    try await with { site in
      let watch = try await site.watch()
      try await site.bus.publish(1)
      try await site.expect([1])
      try await site.awaitMoved()
      let keys = site.bus.keys
      try await site.server.command("RENAME", keys.handlers, "kept")
      try await site.server.command("SET", keys.handlers, "x")
      try await site.bus.publish(1)
      try await eventually("it is told") {
        watch.errorOutput.contains("the handler pager cannot go on")
      }
      try await site.server.command("DEL", keys.handlers)
      try await site.server.command("RENAME", "kept", keys.handlers)
      try await site.expect([1, 2])
      try await site.awaitMoved()
      try await end(watch)
    }
  }

  @Test(
    "options that do not fit are refused",
    arguments: [
      ["watch", "--handler", "x"], ["watch", "--exec-retries", "1"],
      ["watch", "--exec", "true", "--handler", "a b"],
      ["watch", "--exec", "true", "--handler", ""],
      ["watch", "--exec", "true", "--exec-retries", "-1"],
      ["history", "--handler", "x", "--chart"], ["history", "--handler", "a/b"],
    ])
  func usage(words: [String]) async throws {
    let process = try Paasbus.start(words)
    #expect(try await process.exitStatus() == 64, "\(process.errorOutput)")
    #expect(process.errorLines.count == 1)
  }
}
