import Foundation
import TestSupport
import Testing

@Suite("A wrapped command in a terminal")
struct TerminalTests {
  @Test("a program that deals with Ctrl-C survives it, and nobody hears of a stop")
  func interrupt() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      try await Shell.with(on: server) { terminal in
        try await terminal.enter("$A -- python3 -q")
        try await terminal.expect(">>>")
        _ = try await watch.waitFor("start")
        try await terminal.press("C-c")
        try await terminal.expect("KeyboardInterrupt")
        try await terminal.enter("print(6 * 7)")
        try await terminal.expect("\n42")
        try await terminal.enter("exit(3)")
        let stop = try await watch.waitFor("stop").first
        #expect(stop?["reason"] == .string("exit") && stop?["exit"] == .number(3))
        #expect(watch.objects(ofType: "stopping").isEmpty)
        try await terminal.awaitPrompt()
        try await terminal.enter("echo status $?")
        try await terminal.expect("status 3")
      }
    }
  }

  @Test("Ctrl-C ends a command that does not deal with it, once")
  func interrupted() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      try await Shell.with(on: server) { terminal in
        try await terminal.enter("$A -- sleep 1010")
        _ = try await watch.waitFor("start")
        try await terminal.press("C-c")
        let stop = try await watch.waitFor("stop").first
        #expect(stop?["signal"] == .string("SIGINT") && stop?["exit"] == .number(130))
        #expect(stop?["reason"] == .string("signal"))
        try await terminal.awaitPrompt()
        try await terminal.enter("echo status $?")
        try await terminal.expect("status 130")
      }
    }
  }

  @Test(
    "Ctrl-Z and fg work, in our process group and in one of its own", arguments: ["", "--group"])
  func jobControl(option: String) async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      try await Shell.with(on: server) { terminal in
        try await terminal.enter("$A \(option) -- python3 -q")
        try await terminal.expect(">>>")
        for round in 1...2 {
          try await terminal.press("C-z")
          try await terminal.expect("stopped \(round)") {
            $0.ranges(of: "Stopped").count == round
          }
          try await terminal.awaitPrompt()
          try await terminal.enter("echo $((40 + \(round)))")
          try await terminal.expect("\n\(40 + round)")
          try await terminal.enter("fg")
          try await terminal.enter("print(\(round) * 111)")
          try await terminal.expect("\n\(round * 111)")
        }
        try await terminal.press("C-c")
        try await terminal.expect("KeyboardInterrupt")
        try await terminal.enter("exit()")
        let stop = try await watch.waitFor("stop").first
        #expect(stop?["exit"] == .number(0))
      }
    }
  }

  @Test("with --group the terminal is ours again when the command has ended")
  func terminalBack() async throws {
    try await RedisServer.with { server in
      try await Shell.with(on: server) { terminal in
        let script = server.folder.appending(path: "script").path
        try Data("$A --group -- sleep 0.1\necho next; read x; echo got $x\n".utf8)
          .write(to: URL(filePath: script))
        try await terminal.enter("bash \(script)")
        try await terminal.expect("next")
        try await terminal.enter("word")
        try await terminal.expect("got word")
        try await terminal.enter("$A --group -- sleep 1020 | sleep 1021")
        try await eventually("the command runs") { Processes.haveTerminal("sleep 1020") }
        try await terminal.press("C-c")
        try await eventually("the command has ended") { Processes.states("sleep 1020").isEmpty }
        // Ended, the command has not been waited for yet.
        try await eventually("the terminal is the pipeline's again") {
          Processes.haveTerminal("sleep 1021")
        }
        try await terminal.press("C-c")
        try await terminal.awaitPrompt()
        try await terminal.enter("echo here $((1 + 1))")
        try await terminal.expect("here 2")
      }
    }
  }

  @Test("with --group, Ctrl-C reaches the command also where the terminal is ours")
  func terminalTaken() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      try await Shell.with(on: server) { terminal in
        // As a shell may do that is slower than we to give a pipeline the terminal.
        let program = """
          import os, signal, time
          signal.signal(signal.SIGTTOU, signal.SIG_IGN)
          os.tcsetpgrp(0, os.getpgid(os.getppid()))
          signal.signal(signal.SIGINT, signal.SIG_DFL)
          print("given" + " away", flush=True)
          time.sleep(1000)
          """
        let file = server.folder.appending(path: "program.py")
        try Data(program.utf8).write(to: file)
        try await terminal.enter("$A --group -- python3 \(file.path)")
        try await terminal.expect("given away")
        try await terminal.press("C-c")
        let stop = try await watch.waitFor("stop").first
        #expect(stop?["signal"] == .string("SIGINT") && stop?["reason"] == .string("signal"))
        try await terminal.awaitPrompt()
      }
    }
  }

  /// Waits until a program reads what is typed; what is typed before that, the shell takes.
  private func awaitReading(_ line: String) async throws {
    try await eventually("\(line) reads") { Processes.states(line) == ["S"] }
  }

  @Test("with --group a pipeline is stopped whole, and bg and fg work")
  func groupJobs() async throws {
    try await RedisServer.with { server in
      try await Shell.with(on: server) { terminal in
        try await terminal.enter("$A --group -- cat -u | sed -u s/^/out:/")
        try await awaitReading("cat -u")
        try await terminal.enter("one")
        try await terminal.expect("out:one")
        try await terminal.press("C-z")
        try await terminal.expect("Stopped")
        try await terminal.enter("fg")
        try await awaitReading("cat -u")
        try await terminal.enter("two")
        try await terminal.expect("out:two")
        try await terminal.press("C-d")
        try await eventually("it has ended") { Processes.states("cat -u").isEmpty }
        try await terminal.enter("$A --group -- cat -u")
        try await awaitReading("cat -u")
        try await terminal.press("C-z")
        try await terminal.expect("it is stopped") { $0.ranges(of: "Stopped").count == 2 }
        try await terminal.enter("bg")
        try await eventually("it is stopped again, by its reading") {
          try await terminal.screen.contains("&") && Processes.states("cat -u") == ["T"]
        }
        try await terminal.enter("fg")
        try await awaitReading("cat -u")
        try await terminal.enter("three")
        try await terminal.expect("it is read and written") { $0.ranges(of: "three\n").count == 2 }
        try await terminal.press("C-d")
        try await eventually("it has ended") { Processes.states("cat -u").isEmpty }
        try await terminal.awaitPrompt()
        try await terminal.enter("echo status $?")
        try await terminal.expect("status 0")
      }
    }
  }

  @Test("a full-screen program has the whole terminal", arguments: ["", "--group"])
  func fullScreen(option: String) async throws {
    try await RedisServer.with { server in
      let file = server.folder.appending(path: "text")
      try Data((1...100).map { "line \($0)\n" }.joined().utf8).write(to: file)
      try await Shell.with(on: server) { terminal in
        try await terminal.enter("$A \(option) -- less \(file.path)")
        try await terminal.expect("all of the screen") { screen in
          screen.contains("line 1\n") && screen.contains("line 23\n")
        }
        try await terminal.press("G")
        try await terminal.expect("line 100")
        try await terminal.press("q")
        try await terminal.awaitPrompt()
        try await terminal.enter("echo status $?")
        try await terminal.expect("status 0")
      }
    }
  }

  @Test("a shell under us has job control of its own")
  func shell() async throws {
    try await RedisServer.with { server in
      try await Shell.with(on: server) { terminal in
        try await terminal.enter("$A -- bash --norc --noprofile -i")
        try await terminal.expect("a second prompt") { $0.ranges(of: "shell>").count >= 2 }
        try await terminal.awaitPrompt()
        try await terminal.enter("PS1='inner> '")
        try await terminal.expect("\ninner>")
        try await terminal.enter("sleep 1002")
        try await awaitReading("sleep 1002")
        try await terminal.press("C-z")
        try await terminal.expect("Stopped")
        try await terminal.enter("fg")
        try await eventually("it runs in the foreground") {
          Processes.haveTerminal("sleep 1002") && Processes.states("sleep 1002") == ["S"]
        }
        try await terminal.press("C-c")
        try await terminal.expect("a prompt after it") { $0.ranges(of: "^C\ninner>").count == 1 }
        try await terminal.enter("exit 7")
        try await terminal.awaitPrompt()
        try await terminal.enter("echo status $?")
        try await terminal.expect("status 7")
      }
    }
  }
}
