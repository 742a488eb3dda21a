import PaasbusRedis
import Presence

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension Failure {
  init(_ error: RedisError) {
    let address = error.endpoint.map { " (\($0.redactedURL))" } ?? ""
    let (problem, remedy) = error.words
    self.init(error.exitStatus, problem + address, remedy: remedy)
  }

  init(_ error: PresenceError) {
    switch error {
    case .redis(let error): self.init(error)
    case .otherChannel(let app, let channel):
      self.init(
        .configuration, "the bus \(app) uses the channel \(channel)",
        remedy: "remove --channel, or give the same")
    }
  }
}

extension Announcer {
  /// Why a `stop` was not delivered.
  static func problem(_ error: PresenceError?) -> String {
    error.map { Failure($0).problem } ?? "Redis did not answer in time"
  }
}

extension RedisError {
  fileprivate var exitStatus: ExitStatus {
    switch kind {
    case .unreachable, .unavailable, .wrongServer, .server: .unreachable
    case .refused: .refused
    case .protocolViolation: .protocol
    case .tls, .configuration: .configuration
    }
  }

  /// What went wrong, without a final full stop, and what to do about it.
  fileprivate var words: (problem: String, remedy: String) {
    switch cause {
    case .connectionRefused: unreached("connection refused")
    case .connectTimeout: unreached("no answer within the time-out")
    case .unresolved(let host):
      (
        "cannot reach Redis: the name \(host) does not resolve",
        "check the host in the URL, and the name servers of this machine"
      )
    case .namesUnanswered(let host):
      (
        "cannot reach Redis: the name \(host) does not resolve, since no name server answers",
        "check the name servers of this machine (/etc/resolv.conf)"
      )
    case .system(let number): unreached(String(cString: strerror(number)))
    case .transport(let text): unreached(text)
    case .tls(let failure): failure.words(plain: plainScheme)
    case .closed: ("the connection to Redis was closed", "check that the server is running")
    case .closedUnheard:
      (
        "the server closed the connection without an answer",
        endpoint?.usesTLS == true
          ? "check that it is a Redis server and that it is running"
          : "use rediss:// if the port expects TLS, or check that it is a Redis server"
      )
    case .closedAsked(let commands): Self.closed(asked: commands)
    case .noAnswer(let limit):
      (
        "Redis did not answer within \(Self.text(limit))",
        "check the server, or allow more with --timeout"
      )
    case .silentSubscription:
      ("nothing arrives on the subscription", "check the network and the server")
    case .reply(let reply): reply.words
    case .notRedis(let detail):
      (
        "the server did not reply in the Redis protocol (\(detail))",
        "check the host and port of the URL"
      )
    case .replyTooLarge(let limit):
      (
        "a reply is larger than \(limit / 1_048_576) MiB",
        "check what the server holds under this key"
      )
    case .unexpectedReply(let command):
      (
        "the server gave no valid reply to \(command)",
        "check that it is a Redis server, and check any proxy in front of it"
      )
    case .noDatabase(let number):
      ("Redis has no database \(number)", "choose a lower number in the URL")
    case .unknownMaster(let name):
      (
        "the sentinels know no master named \(name)",
        "compare the name in the URL with 'sentinel monitor' in their configuration"
      )
    case .masterIsReplica:
      (
        "the master that the sentinels name is a replica",
        "wait until they have agreed on a new one"
      )
    case .redirectionLoop:
      ("the nodes of the cluster redirect to each other in a circle", "wait until it is stable")
    }
  }

  /// The scheme that the same URL would have without TLS.
  private var plainScheme: String {
    if case .sentinel? = endpoint?.address { "redis+sentinel://" } else { "redis://" }
  }

  private func unreached(_ cause: String) -> (String, String) {
    var remedy = "check that it is running and that the host and port of the URL are right"
    if case .unixSocket? = endpoint?.address {
      remedy = "check that the server is running and that this is the path of its socket"
    }
    return ("cannot reach Redis: \(cause)", remedy)
  }

  private static func closed(asked commands: [String]) -> (String, String) {
    let names = commands.joined(separator: ", ")
    let (which, known) = commands.count == 1 ? (names, "it") : ("one of \(names)", "them")
    return (
      "the server closed the connection when it was asked for \(which)",
      "check that it is running, and that it and any proxy in front of it know \(known)"
        + (commands.count == 1 ? "" : "; 'paasbus doctor' finds out which")
    )
  }

  private static func text(_ duration: Duration) -> String {
    let milliseconds = Int64((duration / .milliseconds(1)).rounded())
    return milliseconds < 1000 || milliseconds % 1000 != 0
      ? "\(milliseconds) ms" : "\(milliseconds / 1000) s"
  }
}

extension TLSFailure {
  fileprivate func words(plain: String) -> (problem: String, remedy: String) {
    let skip = "skip the check with --tls-insecure"
    return switch self {
    case .notTLS: ("the server does not speak TLS on this port", "use \(plain) instead")
    case .ended:
      (
        "the server ended the connection in the middle of the TLS handshake",
        "see its log, and check that it expects TLS on this port"
      )
    case .noAnswer:
      (
        "the TLS handshake got no answer",
        "use \(plain) if the server does not expect TLS on this port"
      )
    case .otherName:
      (
        "the server's certificate is for another name",
        "use a name that the certificate is for, or \(skip)"
      )
    case .untrusted:
      (
        "the server's certificate is not trusted",
        "add its authority with --tls-ca FILE, or \(skip)"
      )
    case .withoutAuthorities:
      (
        "the server's certificate is not trusted, since this machine has no authorities to trust",
        "install the package ca-certificates, or add its authority with --tls-ca FILE, or \(skip)"
      )
    case .expired: ("the server's certificate has expired", "renew it, or \(skip)")
    case .notYetValid:
      (
        "the server's certificate is not valid yet", "check the clocks, or \(skip)"
      )
    case .certificateWanted:
      (
        "the server accepts only clients with a certificate that it trusts",
        "present one with --tls-cert FILE and --tls-key FILE"
      )
    case .certificateRefused:
      (
        "the server does not accept the client certificate",
        "use a valid one of an authority that the server trusts (--tls-cert FILE)"
      )
    case .noCommonAlgorithm:
      (
        "the server and paasbus have no TLS algorithm in common",
        "let it offer ECDHE (X25519, P-256, P-384 or P-521) with AES-GCM or ChaCha20-Poly1305, "
          + "and a certificate with an RSA, ECDSA (P-256, P-384, P-521) or Ed25519 key"
      )
    case .noCommonVersion:
      ("the server speaks only other versions of TLS", "enable TLS 1.2 or 1.3 on the server")
    case .other(let detail):
      (
        "the TLS handshake failed (\(detail))",
        "check the scheme of the URL and the server's TLS settings"
      )
    }
  }
}

extension ErrorReply {
  fileprivate var words: (problem: String, remedy: String) {
    let text = text.hasSuffix(".") ? String(text.dropLast()) : text
    let answers = "Redis replied \(text)"
    return switch meaning {
    case .connectionLimit:
      (
        "Redis accepts no more connections: \(text)", "close other clients or get a larger plan"
      )
    case .passwordWanted:
      ("Redis asks for a password", "put it into the URL (redis://:PASSWORD@…)")
    case .passwordRefused:
      (
        "Redis refuses the user name or password", "compare the URL with what the provider shows"
      )
    case .permissionMissing(let command):
      (
        "Redis refuses: \(text)",
        "give this user the permission\(command.map { " (ACL SETUSER USER +\($0))" } ?? ""); "
          + "'paasbus doctor' lists all that is missing"
      )
    case .keyRefused:
      (
        "Redis refuses: \(text)",
        "give this user the keys (ACL SETUSER USER ~paasbus:*); "
          + "'paasbus doctor' lists all that is missing"
      )
    case .channelRefused:
      (
        "Redis refuses: \(text)",
        "give this user the channel (ACL SETUSER USER &CHANNEL, 'instances' for an app's bus); "
          + "'paasbus doctor' lists all that is missing"
      )
    case .replica: (answers, "the server is a replica; use the address of its master")
    case .moved: (answers, "the cluster has moved these keys; try again")
    case .notReady: (answers, "wait until it is ready")
    case .memoryFull: (answers, "the server's memory is full; free some or raise maxmemory")
    case .cannotSave: (answers, "the server cannot save to its disk; see its log")
    case .wrongType:
      (
        "a key of this bus has another type: \(text)",
        "choose another --app, or remove the key"
      )
    case .unknownCommand(let command):
      (
        "the server has no command \(command)",
        "allow it in the server's configuration (rename-command), or use another server"
      )
    case .other: (answers, "see the server's log, or try another server")
    }
  }
}
