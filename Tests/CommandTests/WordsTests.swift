import Foundation
import PaasbusRedis
import Supervisor
import Terminal
import TestSupport
import Testing

@testable import ExpressSessions
@testable import PaasbusRedis
@testable import Platforms
@testable import Presence
@testable import paasbus

/// All errors and remarks, in files that are to be read by people from top to bottom; with `PAASBUS_WRITE_WORDS=1`,
/// writes them.
@Suite("Words")
struct WordsTests {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "Words")
  private static let writes = ProcessInfo.processInfo.environment["PAASBUS_WRITE_WORDS"] == "1"

  private func expect(_ name: String, _ lines: [String]) throws {
    let file = Self.folder.appending(path: "\(name).txt")
    let text = lines.joined(separator: "\n") + "\n"
    if Self.writes { try text.write(to: file, atomically: true, encoding: .utf8) }
    #expect(try String(contentsOf: file, encoding: .utf8) == text)
  }

  private func line(_ error: any Error) -> String {
    let failure = (error as? Failure) ?? Failure(error)
    return "\(failure.status.rawValue)  \(failure.problem): \(failure.remedy)"
  }

  private static let endpoint = try? RedisEndpoint(url: "redis://u:pw@h:7")

  @Test("errors")
  func errors() throws {
    let tcp = Self.endpoint ?? RedisEndpoint(address: .tcp(.init(name: "h")))
    let socket = RedisEndpoint(address: .unixSocket(path: "/run/redis.sock"))
    let causes: [RedisError.Cause] = [
      .connectionRefused, .connectTimeout, .unresolved(host: "h"), .namesUnanswered(host: "h"),
      .system(EHOSTUNREACH), .transport("unknown"), .closed, .closedUnheard,
      .closedAsked(["CLIENT"]), .closedAsked(["MULTI", "EXEC"]), .noAnswer(within: .seconds(5)),
      .silentSubscription, .notRedis("H"), .replyTooLarge(limit: 268_435_456),
      .unexpectedReply(to: "TIME"), .noDatabase(99), .unknownMaster("m"), .masterIsReplica,
      .redirectionLoop,
    ]
    let failures: [TLSFailure] = [
      .notTLS, .ended, .noAnswer, .otherName, .untrusted, .withoutAuthorities, .expired,
      .notYetValid, .certificateWanted, .certificateRefused, .noCommonAlgorithm, .noCommonVersion,
      .other("unknown"),
    ]
    let replies = [
      "ERR max number of clients reached", "NOAUTH Authentication required.",
      "WRONGPASS invalid username-password pair",
      "NOPERM this user has no permissions to run the 'zadd' command",
      "ERR ACL failure in script: User u has no permissions to run the 'get' command script: 0a, "
        + "on @user_script:9.",
      "NOPERM 'hset' is refused a key of paasbus:*", "NOPERM 'publish' is refused a channel",
      "READONLY You can't write against a read only replica.", "MOVED 1 10.0.0.1:6379",
      "LOADING Redis is loading the dataset in memory",
      "OOM command not allowed when used memory > 'maxmemory'.", "MISCONF Errors writing",
      "WRONGTYPE paasbus:{shop}:bus is a string", "NOCOMMAND XADD", "ERR something else",
    ]
    let urls: [RedisURLError] = [
      .empty, .tooLong, .severalURLs, .severalHosts, .blanks, .noScheme(isPath: true),
      .noScheme(isPath: false), .unknownScheme("ftp"), .unknownScheme(nil), .rest(scheme: "https"),
      .noHost, .host, .colons, .openBracket, .behindBracket, .lateAt, .port, .database, .noMaster,
      .noSocketPath, .controlsInPath, .longPath, .encoding, .noUTF8,
    ]
    let locators: [RedisLocatorError.Cause] = [
      .port(variable: "REDIS_PORT"), .hostOnly, .noAddress, .noBase64, .noJSON,
    ]
    let faults: [(TLSFileError.Role, [TLSFileError.Fault])] = [
      (
        .authority,
        [
          .noFileName(.privateKey), .noFileName(.url), .missing, .unreadable(EACCES), .silent,
          .empty, .tooLarge, .byteOrderMark, .binary, .noPEM, .otherContent, .malformed,
        ]
      ), (.certificate, [.otherContent, .alone]),
      (.key, [.otherContent, .protected, .doesNotFit, .otherOrder, .alone, .binary]),
      (.system(variable: "SSL_CERT_FILE"), [.missing]),
    ]
    var errors: [any Error] = causes.map { RedisError($0).at(tcp) }
    errors.append(RedisError(.connectionRefused).at(socket))
    errors += failures.map { RedisError(.tls($0)).at(tcp) }
    errors += replies.map { RedisError.server($0) }
    errors.append(PresenceError.otherChannel(app: "shop", channel: "instances"))
    errors += urls.map { RedisLocatorError(source: "REDIS_URL", cause: .url($0)) }
    errors += locators.map { RedisLocatorError(source: "REDIS_HOST", cause: $0) }
    for (role, faults) in faults {
      errors += faults.map { fault -> Failure in
        let error = TLSFileError(role: role, fault: fault, path: "/x.pem")
        return Failure(error, authority: "--tls-ca")
      }
    }
    let streams: [StreamError] = [
      .cannotWrite(ENOSPC), .cannotRead(EIO), .tooMuchInput(limit: 536_870_912),
    ]
    errors += streams
    let session = SessionID("VbH9u_-0Kc3xTqQ1s8mZ7yPpLw2dNe4R")
    let contents: [SessionContent.Fault] = [.tooLarge, .tooDeep, .notJSON, .noCookie, .otherType]
    errors += [
      Failure(noSessionsUnder: "sess:"), Failure(noSession: session.text),
      Failure(.notFound, session), Failure(.keepsChanging, session),
    ]
    for fault in contents { errors.append(Failure(.unreadable(fault), session)) }
    let lines = errors.map(line)
    try expect("errors", lines)
  }

  @Test("remarks")
  func remarks() throws {
    let lost = RedisError(.closed)
    let failure = Failure(.configuration, "no Redis is configured", remedy: "give --url")
    let instance = Instance(
      app: "shop", id: "01JDDV3V8Q6W2N4C7T0Z5RKXYB", name: "web.1", lease: .seconds(15))
    let url = "redis://u:***@h:7"
    let remarks: [Remark] = [
      .location(.restAddress(variable: "UPSTASH_REDIS_URL")),
      .location(.unreadable(variable: "VCAP_SERVICES")),
      .location(.otherServers(variables: ["REDIS_URL"], used: "REDISTOGO_URL")),
      .usingURL(source: "REDISTOGO_URL", url: url),
      .usingLocalBus(socket: "/run/paasbus/redis.sock"),
      .trimmed(variable: "REDIS_URL"), .ignoredQueryItem("family", source: "REDIS_URL"),
      .ignoredLogin(queryItem: "password"), .passwordOnCommandLine, .uselessTLSOptions,
      .ignoredSecret(variable: "PAASBUS_APP", kind: "a URL"),
      .renamedApp(given: "my shop", name: "my-shop"), .onlyBus(app: "shop"), .connectionLost(lost),
      .connectionBack, .messagesLost(lost), .messagesBack, .listening(url: url),
      .neverAnnounced(app: nil), .neverAnnounced(app: "shop"), .waiting,
      .watching(app: "shop", channel: "instances", url: url), .cannotReap, .otherApp("blog"),
      .manyOtherApps,
      .handlerFailed(.lost, name: "web.1", failure: "failed with exit code 3", then: nil),
      .handlerFailed(.lost, name: "web.1", failure: "failed with exit code 3", then: (1, 3)),
      .handlerFailed(.lost, name: "web.1", failure: "failed with exit code 3", then: (0, 3)),
      .runsHandler("pager"), .handlerStandsBy("pager"), .handlerReset,
      .handlerWaits("pager", RedisError.server("OOM command not allowed")),
      .handlerGap(count: 1), .handlerGap(count: 2), .waited("3 of 3 v43 up after 2s"),
      .announced(instance, channel: "instances", url: url), .followsProcessOne,
      .shellWithoutExec("sh"), .notYetAnnounced(failure), .notAnnounced(failure), .unanswered,
      .undelivered(nil), .undelivered(.redis(lost)), .noProcess(errno: EAGAIN),
      .announcerEnded(.signalled(SIGKILL)), .undeliveredInTime,
      .killedForMemory(count: 1, limit: 67_108_864), .killedForMemory(count: 2, limit: nil),
      .serving(url: "http://127.0.0.1:8080/"), .servingSocket(path: "/run/panel.sock"),
      .openSecretFile, .extensionMayBeUndone,
      .openedSession(short: "VbH9u_~843cb473", user: "42", path: "user.id"),
    ]
    #expect(remarks.allSatisfy { !$0.text.isEmpty && !$0.text.hasSuffix(".") })
    try expect("remarks", remarks.map(\.text))
  }

  @Test("usage")
  func usage() async throws {
    let commands = [
      "wacht", "redis://u:pw@h", "announce node", "announce --", "announce --lease 1s",
      "announce --lease soon", "announce --history 0", "announce --meta a",
      "announce --meta a=1 --meta a=2", "announce --pid 0", "announce --pid 4 -- true",
      "announce --group", "announce --signal TERM -- true", "announce --signal KILL=TERM -- true",
      "announce --ok-exit 256 -- true", "watch --only born", "watch --since yesterday",
      "watch --exec=", "watch --exec-timeout 0s --exec true", "list --state gone", "list extra",
      "list --jsno", "list --app=", "list --timeout 0s", "history -n 0",
      "history --chart --json", "wait", "wait --count 0 --timeout 1s",
      "wait --gone --count 1 --timeout 1s", "forget", "forget --all X", "publish",
      "publish --expect -1 c m", "subscribe", "subscribe --count 0 c", "top", "local strat",
      "serve --listen 8080",
      "serve --base-path ops", "serve --host /", "serve --socket=", "serve --listen ::1 --socket s",
      "serve --listen [::1]:1 --socket s",
      "sessions lst", "sessions list --user a --anonymous", "sessions list --user-path a..b",
      "sessions show", "sessions end", "sessions end --all --yes --prefix=", "sessions extend a",
      "sessions extend a 0s", "sessions extend a soon", "sessions open --max-age 25h",
    ]
    var lines: [String] = []
    for command in commands {
      let process = try Paasbus.start(
        command.split(separator: " ").map(String.init),
        environment: ["PAASBUS_URL": "redis://127.0.0.1:1"])
      let status = try await process.exitStatus()
      lines.append("\(status)  \(command)  →  \(process.errorLines.joined(separator: " ⏎ "))")
    }
    try expect("usage", lines)
  }
}
