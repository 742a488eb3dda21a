import PaasbusRedis
import Platforms
import Presence
import Supervisor
import Views

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The messages on stderr other than errors, one line each.
enum Remark {
  // MARK: Configuration

  case location(RedisLocationNote)
  case usingURL(source: String, url: String)
  case usingLocalBus(socket: String)
  case trimmed(variable: String)
  case ignoredQueryItem(String, source: String)
  case ignoredLogin(queryItem: String)
  case passwordOnCommandLine
  case uselessTLSOptions
  case ignoredSecret(variable: String, kind: String)
  case renamedApp(given: String, name: String)
  case onlyBus(app: String)

  // MARK: Connection

  case connectionLost(any Error)
  case connectionBack
  case messagesLost(any Error)
  case messagesBack
  case listening(url: String)

  // MARK: Watching

  case neverAnnounced(app: String?)
  case waiting
  case watching(app: String, channel: String, url: String)
  case cannotReap
  case otherApp(String)
  case manyOtherApps
  /// With which of how many tries it goes on, 0 where it was the last; nil where there is only one.
  case handlerFailed(EventType, name: String, failure: String, then: (try: Int, of: Int)?)
  case runsHandler(String)
  case handlerStandsBy(String)
  case handlerReset
  case handlerWaits(String, RedisError)
  case handlerGap(count: Int64)
  case waited(String)

  // MARK: Serving

  case serving(url: String)
  case servingSocket(path: String)

  // MARK: Sessions

  case openSecretFile
  case secretsRenewed
  case secretsNotRenewed(Failure)
  case readingUser
  case extensionMayBeUndone
  case openedSession(short: String, user: String, path: String)

  // MARK: Announcing

  case announced(Instance, channel: String, url: String)
  case followsProcessOne
  case shellWithoutExec(String)
  case notYetAnnounced(Failure)
  case notAnnounced(Failure)
  case unanswered
  case undelivered(PresenceError?)
  case noProcess(errno: CInt)
  case announcerEnded(CommandStatus)
  case undeliveredInTime
  case killedForMemory(count: Int64, limit: Int64?)

  var text: String {
    switch self {
    case .location(let note): note.text
    case .usingURL(let source, let url): "using \(source): \(url)"
    case .usingLocalBus(let socket): "using the local bus (\(socket))"
    case .trimmed(let variable): "\(variable): ignoring the blanks at its end"
    case .ignoredQueryItem(let item, let source): "\(source): the query item \(item) is ignored"
    case .ignoredLogin(let item):
      "the query item \(item) is ignored: write the login before the host (USER:PASSWORD@HOST)"
    case .passwordOnCommandLine:
      "others can see a password on the command line: set PAASBUS_URL instead"
    case .uselessTLSOptions: "the TLS options have no effect: the URL does not begin with rediss://"
    case .ignoredSecret(let variable, let kind): "\(variable) is ignored: it contains \(kind)"
    case .renamedApp(let given, let name): "the app \(given) is called \(name) on the bus"
    case .onlyBus(let app): "using the bus \(app), the only one on this Redis"
    case .connectionLost(let error): Self.lost(error)
    case .connectionBack: "connected to Redis again"
    case .messagesLost(let error):
      "\(Failure(error).problem); trying again; messages published meanwhile are lost"
    case .messagesBack: "connected to Redis again; messages published in between are lost"
    case .listening(let url): "listening at \(url)"
    case .openSecretFile:
      "every user of this machine can read the file of --secret-file: run chmod o-r on it"
    case .secretsRenewed: "the secrets have been read again"
    case .secretsNotRenewed(let failure):
      "the secrets stay as they were: \(failure.problem): \(failure.remedy)"
    case .readingUser:
      #"type the user as JSON, for example {"user":{"id":"42"}}, and end with Ctrl-D"#
    case .extensionMayBeUndone: "a request that is running in the app now may undo this"
    case .openedSession(let short, let user, let path):
      "opened the session \(short) for the user \(user) (\(path))"
    default: announcingText ?? watchingText ?? ""
    }
  }

  /// Adds a hint where trying again may not help.
  private static func lost(_ error: any Error) -> String {
    let failure = Failure(error)
    let hint = failure.status == .unreachable ? "" : "; see 'paasbus doctor'"
    return "\(failure.problem); trying again\(hint)"
  }

  private var watchingText: String? {
    switch self {
    case .neverAnnounced(nil): "no instance has ever announced itself on this Redis"
    case .neverAnnounced(let app?): "no instance has ever announced itself on the bus \(app)"
    case .waiting: "no instance has announced itself yet; waiting"
    case .watching(let app, let channel, let url):
      "watching the bus \(app), channel \(channel), at \(url)"
    case .cannotReap: "this user may not write, so this watch declares no instance lost"
    case .otherApp(let app):
      "another app, '\(app)', uses the same channel; its events are not shown"
    case .manyOtherApps: "more apps use the same channel; they are not shown"
    case .handlerFailed(let type, let name, let failure, let next):
      "the handler for \(type.rawValue) of \(name) \(failure)"
        + (next.map {
          $0.try > 0 ? ": trying again (\($0.try) of \($0.of))" : ": passing over the event"
        }
          ?? "")
    case .runsHandler(let name): "running the handler \(name)"
    case .handlerStandsBy(let name): "another watch runs the handler \(name); standing by"
    case .handlerReset:
      "the bus has lost data: the handler goes on with the events that are there now"
    case .handlerWaits(let name, let error):
      "the handler \(name) cannot go on: \(Self.lost(error))"
    case .handlerGap(let missing):
      "the history no longer holds \(count(missing, "event")) that the handler missed: "
        + "announce with a larger --history, or handle them faster"
    case .waited(let summary): summary
    case .serving(let url): "serving at \(url)"
    case .servingSocket(let path): "serving at the Unix socket \(path)"
    default: nil
    }
  }

  private var announcingText: String? {
    switch self {
    case .announced(let instance, let channel, let url):
      "announced \(instance.name) (\(instance.id)) on the bus \(instance.app), "
        + "channel \(channel), at \(url)"
    case .followsProcessOne:
      "when process 1 ends, paasbus is killed before it can publish the stop: "
        + "put 'paasbus announce --' in front of the command of process 1 instead"
    case .shellWithoutExec(let shell):
      "\(shell) may not pass signals on to the command that it runs: write exec in front of it"
    case .notYetAnnounced(let failure):
      "not announced yet: \(failure.problem): \(failure.remedy); trying again"
    case .notAnnounced(let failure): "not announced: \(failure.problem): \(failure.remedy)"
    case .unanswered: "not announced: Redis did not answer in time"
    case .undelivered(let error):
      "the stop could not be delivered (\(Announcer.problem(error))): "
        + "watchers report the instance lost"
    case .noProcess(let number):
      "not announced yet: no process can be started for it (\(String(cString: strerror(number)))): "
        + "raise the limit of processes (pids.max, ulimit -u); trying again"
    case .announcerEnded(let status):
      "the announcer ended (\(status.signalName ?? "exit \(status.shellStatus)")): "
        + "starting it again; the command is not affected"
    case .undeliveredInTime:
      "the stop could not be delivered in time: watchers report the instance lost"
    case .killedForMemory(let kills, let limit):
      "out of memory\(limit.map { " (limit \(UsageText.bytes($0)))" } ?? ""): the kernel has killed "
        + "\(kills == 1 ? "1 process" : "\(kills) processes") of this instance so far"
    default: nil
    }
  }
}
