import Foundation
import TestSupport
import Testing

@Suite("watch --exec")
struct ExecTests {
  /// Runs `body` with a watch that appends what `script` prints to a file, whose lines it can ask for.
  private func withHandler(
    _ script: String, _ words: [String] = [],
    _ body: (RedisServer, ManagedProcess, () -> [String]) async throws -> Void
  ) async throws {
    try await RedisServer.with { server in
      let file = server.folder.appending(path: "handled").path
      let watch = try Paasbus.start(
        ["watch", "--json", "--app", "default", "--exec", "{ \(script) ; } >> \(file)"] + words,
        on: server, environment: ["FOLDER": server.folder.path])
      try await eventually("it watches") { watch.errorOutput.contains("watching ") }
      try await body(server, watch) {
        let text = try? String(contentsOfFile: file, encoding: .utf8)
        return (text ?? "").split(separator: "\n").map(String.init)
      }
      watch.signal(SIGTERM)
      #expect(try await watch.exitStatus() == 0, "\(watch.errorOutput)")
    }
  }

  @Test("each event is handled once and in order, with its JSON and its members")
  func members() async throws {
    let script = """
      read -r line; echo "$PAASBUS_EVENT_SEQ $PAASBUS_EVENT_TYPE $PAASBUS_EVENT_NAME \
      ${PAASBUS_EVENT_RELEASE-none} ${PAASBUS_EVENT_REASON-none} ${PAASBUS_EVENT_EXIT-none}"; \
      echo "$line"
      """
    try await withHandler(script) { server, watch, handled in
      let wrapped = try Paasbus.start(
        "announce", "--name", "a b;$(x)", "--release", "v1", "--", "sh", "-c", "exit 3", on: server)
      #expect(try await wrapped.exitStatus() == 3)
      try await eventually("both are handled") { handled().count == 4 }
      #expect(handled().at(0) == "1 start a b;$(x) v1 none none")
      #expect(handled().at(2) == "2 stop a b;$(x) v1 exit 3")
      #expect(handled().at(1)?.hasPrefix(#"{"v":1,"type":"start","epoch":"#) == true)
      #expect(watch.errorLines.count == 1, "\(watch.errorOutput)")
    }
  }

  @Test("with --since it is run for the past as well, and only for what was asked for")
  func since() async throws {
    try await RedisServer.with { server in
      for name in ["one", "two"] {
        let announce = try await Paasbus.announce("--name", name, on: server)
        announce.signal(SIGTERM)
        _ = try await announce.exitStatus()
      }
      let file = server.folder.appending(path: "handled").path
      let watch = try Paasbus.start(
        "watch", "--since", "all", "--only", "stop", "--exec",
        "echo $PAASBUS_EVENT_NAME >> \(file)", on: server)
      try await eventually("the past is handled") {
        try String(contentsOfFile: file, encoding: .utf8) == "one\ntwo\n"
      }
      let announce = try await Paasbus.announce("--name", "three", on: server)
      announce.signal(SIGTERM)
      try await eventually("the present is handled") {
        try String(contentsOfFile: file, encoding: .utf8) == "one\ntwo\nthree\n"
      }
      watch.signal(SIGTERM)
      #expect(try await watch.exitStatus() == 0)
    }
  }

  @Test("failures are said, and stop nothing")
  func failures() async throws {
    try await withHandler(
      "echo $PAASBUS_EVENT_SEQ; case $PAASBUS_EVENT_SEQ in 1) exit 7;; 2) kill -9 $$;; esac"
    ) { server, watch, handled in
      try await Bus(on: server).publish(3)
      try await eventually("all are handled") { handled() == ["1", "2", "3"] }
      try await eventually("failures are said") { watch.errorLines.count == 3 }
      #expect(watch.errorLines.at(1)?.contains("for start of w failed with exit code 7") == true)
      #expect(watch.errorLines.at(2)?.contains("was ended by SIGKILL") == true)
    }
  }

  @Test("a handler that takes too long is ended with all that it started")
  func timeout() async throws {
    let script = """
      echo $PAASBUS_EVENT_SEQ; [ $PAASBUS_EVENT_SEQ = 2 ] || { trap '' TERM; sleep 1003 & wait; }
      """
    try await withHandler(script, ["--exec-timeout", "1s"]) { server, watch, handled in
      try await Bus(on: server).publish(2)
      try await eventually("the second is handled") { handled() == ["1", "2"] }
      try await eventually("it is said") { watch.errorOutput.contains("took longer than 1s") }
      try await eventually("it has ended") { Processes.states("sleep 1003").isEmpty }
    }
  }

  @Test("a handler inherits no connection of ours")
  func descriptors() async throws {
    // A handler that leaves a process behind would otherwise keep the watch's connections open.
    let script =
      "for end in /proc/self/fd/*; do readlink $end; done | grep -E 'socket|eventpoll' || echo none"
    try await withHandler(script) { server, watch, handled in
      try await Bus(on: server).publish(1)
      try await eventually("it is handled: \(handled())") { handled() == ["none"] }
    }
  }

  @Test("a forged event reaches no handler")
  func forged() async throws {
    try await withHandler("echo $PAASBUS_EVENT_NAME") { server, watch, handled in
      let bus = Bus(on: server)
      try await bus.publish(1)
      try await eventually("the first is handled") { handled() == ["w"] }
      let event = try #require(try await bus.history.first)
      let forged = event.replacing("\"seq\":1", with: "\"seq\":2")
        .replacing("\"name\":\"w\"", with: "\"name\":\"liar\"")
      try await server.cli("PUBLISH", "instances", forged)
      _ = try await watch.waitFor("retracted")
      try await bus.publish(1)
      try await eventually("the true one is handled") { handled().count == 2 }
      #expect(handled() == ["w", "w"])
    }
  }

  @Test("a flood and a slow handler: none is lost, and memory stays bounded")
  func flood() async throws {
    let script =
      "echo $PAASBUS_EVENT_SEQ; while [ ! -e $FOLDER/go ]; do sleep 0.01; done"
    try await withHandler(script, ["--exec-timeout", "1h"]) { server, watch, handled in
      let count = 10_000
      try await Bus(on: server).publish(count)
      try await eventually("all are shown", within: .seconds(60)) {
        watch.numbers.last == Int64(count)
      }
      #expect(handled() == ["1"])
      // The server goes away meanwhile.
      try await server.cli("CLIENT", "KILL", "TYPE", "normal")
      try Data().write(to: server.folder.appending(path: "go"))
      try await eventually("all are handled", within: .seconds(600)) {
        handled().count >= count
      }
      #expect(handled() == (1...count).map(String.init))
      #expect(try watch.peakMemory < 150_000)
    }
  }

  @Test("a watch that is ended ends its handler")
  func ended() async throws {
    try await withHandler("echo $PAASBUS_EVENT_SEQ; exec sleep 1004") { server, watch, handled in
      try await Bus(on: server).publish(1)
      try await eventually("it is begun") { handled() == ["1"] }
      watch.signal(SIGTERM)
      #expect(try await watch.exitStatus() == 0)
      #expect(Processes.states("sleep 1004").isEmpty)
    }
  }
}
