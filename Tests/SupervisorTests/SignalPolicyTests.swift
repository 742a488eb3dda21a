import Foundation
import Testing

@testable import Supervisor

@Suite("Signal policy")
struct SignalPolicyTests {
  private static let all: [SignalPolicy.Options] = {
    var all: [SignalPolicy.Options] = []
    for bits in 0..<64 {
      var options = SignalPolicy.Options()
      options.forwards = bits & 1 != 0
      options.platformSignalsAll = bits & 2 != 0
      options.sharesTerminal = bits & 4 != 0
      options.leadsSession = bits & 8 != 0
      options.isOrphaned = bits & 16 != 0
      if bits & 32 != 0 { options.rewrites = [SIGTERM: SIGQUIT, SIGUSR1: nil] }
      all.append(options)
    }
    return all
  }()

  /// What the rules say, written down anew: the response to the `count`th of this signal, the
  /// earlier ones having been the same.
  private func expected(
    _ signal: ReceivedSignal, count: Int, _ options: SignalPolicy.Options
  ) -> SignalPolicy.Response {
    let isKernels = signal.sender == .kernel
    switch signal.number {
    case SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH:
      if isKernels, options.sharesTerminal { return .init(forwards: nil) }
    case SIGHUP, SIGCONT:
      if isKernels, options.sharesTerminal, !options.leadsSession { return .init(forwards: nil) }
    default: break
    }
    let isRewritten = !options.rewrites.isEmpty
    let passesOn = options.forwards && !options.platformSignalsAll
    var sent: CInt? = signal.number
    switch signal.number {
    case SIGTERM:
      if isRewritten { sent = SIGQUIT }
      return .init(
        forwards: passesOn && count == 1 ? sent : nil, drainReason: count == 1 ? "SIGTERM" : nil)
    case SIGINT:
      return .init(
        forwards: passesOn ? sent : nil, drainReason: count == 1 && !isKernels ? "SIGINT" : nil)
    case SIGUSR1: if isRewritten { sent = nil }
    case SIGTSTP, SIGTTIN, SIGTTOU: if options.isOrphaned { sent = SIGSTOP }
    default: break
    }
    return .init(forwards: passesOn ? sent : nil)
  }

  @Test("every signal, by every sender, once and repeated, under all options")
  func exhaustive() {
    for options in Self.all {
      for number in SignalPolicy.awaited where number != SIGCHLD {
        for sender in [ReceivedSignal.Sender.kernel, .process] {
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
      #expect(one == .init(forwards: first, drainReason: SignalName.of(first)))
      #expect(two == .init(forwards: second))
    }
  }

  @Test("what the terminal sends is no request to end, and a later one still is")
  func terminalFirst() {
    var policy = SignalPolicy(SignalPolicy.Options())
    _ = policy.respond(to: ReceivedSignal(number: SIGINT, sender: .kernel))
    let response = policy.respond(to: ReceivedSignal(number: SIGINT, sender: .process))
    #expect(response == .init(forwards: SIGINT, drainReason: "SIGINT"))
  }

  @Test("a signal that is swallowed asks nobody to end")
  func swallowed() {
    var options = SignalPolicy.Options()
    options.rewrites = [SIGTERM: nil]
    var policy = SignalPolicy(options)
    let response = policy.respond(to: ReceivedSignal(number: SIGTERM, sender: .process))
    #expect(response == .init(forwards: nil))
  }

  @Test("all that can be waited for is")
  func awaited() {
    for number in [SIGKILL, SIGSTOP] {
      #expect(!SignalPolicy.awaited.contains(number))
    }
    for number in [
      SIGTERM, SIGTSTP, SIGPIPE, SIGSEGV, SIGILL, SIGALRM, SIGWINCH, SIGCONT, SIGCHLD, 40,
    ] {
      #expect(SignalPolicy.awaited.contains(number))
    }
  }

  @Test(
    "signals are named with and without SIG, in any case, and by number",
    arguments: [
      ("TERM", SIGTERM), ("SIGTERM", SIGTERM), ("sigquit", SIGQUIT), ("3", SIGQUIT), ("64", 64),
      ("0", nil), ("65", nil), ("-1", nil), ("", nil), ("SIG", nil), ("NONE", nil),
    ] as [(String, CInt?)])
  func names(text: String, number: CInt?) {
    #expect(SignalName.parse(text) == number)
  }
}

@Suite("Command plan")
struct CommandPlanTests {
  @Test("a plan arrives as it was sent")
  func words() {
    var plan = CommandPlan()
    #expect(CommandPlan(words: plan.words) == plan)
    plan.leadsGroup = true
    plan.forwards = false
    plan.platformSignalsAll = true
    plan.adoptsOrphans = true
    plan.isQuiet = true
    plan.rewrites = [SIGTERM: SIGQUIT, SIGHUP: nil]
    plan.acceptedExits = [143, 0]
    plan.stopTimeout = .milliseconds(1500)
    plan.variables = [.init(name: "A", value: "x=y\n>,"), .init(name: "B", value: "")]
    #expect(CommandPlan(words: plan.words) == plan)
  }

  @Test(
    "what is no word of a plan is passed over", arguments: ["", "x", "=", "signal=1", "timeout=x"])
  func rubbish(word: String) {
    #expect(CommandPlan(words: [word]) == CommandPlan())
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
