import Foundation
import Testing

@testable import Supervisor

@Suite("Signal policy")
struct SignalPolicyTests {
  private static let all: [SignalPolicy.Options] = {
    var all: [SignalPolicy.Options] = []
    for bits in 0..<8 {
      var options = SignalPolicy.Options()
      options.forwards = bits & 1 != 0
      options.platformSignalsAll = bits & 2 != 0
      options.sharesTerminal = bits & 4 != 0
      all.append(options)
    }
    return all
  }()

  /// What the rules say, written down anew: the response to the `count`th of this signal, the
  /// earlier ones having been the same.
  private func expected(
    _ signal: ReceivedSignal, count: Int, _ options: SignalPolicy.Options
  ) -> SignalPolicy.Response {
    if signal.sender == .terminal, options.sharesTerminal { return .init(forwards: false) }
    let passesOn = options.forwards && !options.platformSignalsAll
    switch signal.number {
    case SIGTERM:
      return .init(forwards: passesOn && count == 1, drainReason: count == 1 ? "SIGTERM" : nil)
    case SIGINT:
      let isAsked = count == 1 && signal.sender != .terminal
      return .init(forwards: passesOn, drainReason: isAsked ? "SIGINT" : nil)
    default: return .init(forwards: passesOn)
    }
  }

  @Test("every signal, by every sender, once and repeated, under all options")
  func exhaustive() {
    for options in Self.all {
      for number in SignalPolicy.awaited where number != SIGCHLD {
        for sender in [ReceivedSignal.Sender.terminal, .process] {
          var policy = SignalPolicy(options)
          for count in 1...3 {
            let signal = ReceivedSignal(number: number, sender: sender)
            #expect(
              policy.respond(to: signal) == expected(signal, count: count, options),
              "\(number) \(sender) \(count) \(options)")
          }
        }
      }
    }
  }

  @Test("draining is told once, whichever signal asks first")
  func drainsOnce() {
    for (first, second) in [(SIGTERM, SIGINT), (SIGINT, SIGTERM)] {
      var policy = SignalPolicy(SignalPolicy.Options())
      let one = policy.respond(to: ReceivedSignal(number: first, sender: .process))
      let two = policy.respond(to: ReceivedSignal(number: second, sender: .process))
      #expect(one == .init(forwards: true, drainReason: SignalName.of(first)))
      #expect(two == .init(forwards: true))
    }
  }

  @Test("what the terminal sends is no request to end, and a later one still is")
  func terminalFirst() {
    var policy = SignalPolicy(SignalPolicy.Options())
    _ = policy.respond(to: ReceivedSignal(number: SIGINT, sender: .terminal))
    let response = policy.respond(to: ReceivedSignal(number: SIGINT, sender: .process))
    #expect(response == .init(forwards: true, drainReason: "SIGINT"))
  }

  @Test("faults of our own, stops and what cannot be waited for keep their defaults")
  func notAwaited() {
    for number in [SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE, SIGSEGV, SIGABRT] {
      #expect(!SignalPolicy.awaited.contains(number))
    }
    for number in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGWINCH, SIGCONT, SIGCHLD, 40] {
      #expect(SignalPolicy.awaited.contains(number))
    }
  }
}

@Suite("Command status")
struct CommandStatusTests {
  @Test("exit codes and signals as a shell tells them", arguments: [0, 1, 127, 255])
  func exits(code: Int32) {
    #expect(CommandStatus(waitStatus: code << 8) == .exited(code))
    #expect(CommandStatus(waitStatus: code << 8).shellStatus == code)
  }

  @Test("a signal is 128 and its number, dumped core or not", arguments: [SIGKILL, SIGSEGV, 40])
  func signals(number: Int32) {
    for status in [number, number | 0x80] {
      #expect(CommandStatus(waitStatus: status) == .signalled(number))
      #expect(CommandStatus(waitStatus: status).shellStatus == 128 + number)
    }
    #expect(CommandStatus.signalled(SIGKILL).signalName == "SIGKILL")
    #expect(CommandStatus.signalled(40).signalName == "SIG40")
  }
}
