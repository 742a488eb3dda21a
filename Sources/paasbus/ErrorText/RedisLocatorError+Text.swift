import PaasbusRedis
import Platforms

extension Failure {
  init(_ error: RedisLocatorError) {
    let (problem, remedy) = error.words
    self.init(.configuration, problem, remedy: remedy)
  }
}

extension RedisLocatorError {
  fileprivate var words: (problem: String, remedy: String) {
    let (problem, remedy): (String, String) =
      switch cause {
      case .url(let error): error.words
      case .port(let variable):
        ("\(variable) is not a number from 1 to 65535", "correct it, or unset it for 6379")
      case .hostOnly: ("it contains more than the name of a host", "give --url")
      case .noAddress:
        ("the Redis service has neither a uri nor a host", "bind it anew, or give --url")
      case .noBase64: ("it is not valid base64", "give --url")
      case .noJSON: ("it is not valid JSON", "give --url")
      }
    return ("\(source): \(problem)", remedy)
  }
}

extension RedisLocationNote {
  var text: String {
    switch self {
    case .restAddress(let variable): "\(variable) is ignored: it is a REST address"
    case .unreadable(let variable): "\(variable) cannot be read, and is not needed"
    case .otherServers(let variables, let used):
      "using \(used); \(variables.joined(separator: ", ")) would lead to another server"
    }
  }
}

extension RedisURLError {
  private static let shape = "write it as redis://USER:PASSWORD@HOST:PORT/DATABASE"

  fileprivate var words: (problem: String, remedy: String) {
    switch self {
    case .empty: ("the URL is empty", "begin it with redis://, as in redis://localhost:6379")
    case .tooLong: ("the URL is longer than 8 KiB", Self.shape)
    case .severalURLs:
      (
        "there are several URLs where one is expected",
        "keep one; a cluster tells its other nodes, and sentinels stand in one URL "
          + "(redis+sentinel://HOST:26379,HOST:26379/MASTER)"
      )
    case .severalHosts: ("the URL has several hosts", "keep one; a cluster tells its other nodes")
    case .blanks: ("the URL contains spaces or control characters", "percent-encode or remove them")
    case .noScheme(isPath: true):
      ("the URL has no scheme", "write the path of a socket as unix:///PATH")
    case .noScheme:
      ("the URL has no scheme", "begin it with redis://, as in redis://localhost:6379")
    case .unknownScheme(let scheme):
      (
        scheme.map { "the scheme \($0) is unknown" } ?? "the URL's scheme is unknown",
        "use redis://, rediss:// or unix://"
      )
    case .rest(let scheme):
      (
        "an \(scheme) URL is a REST address", "take the provider's redis:// or rediss:// URL"
      )
    case .noHost: ("the URL has no host", Self.shape)
    case .host: ("the host in the URL contains invalid characters", Self.shape)
    case .colons: ("the host in the URL contains colons", "put an IPv6 address into brackets")
    case .openBracket: ("a bracket in the URL is not closed", Self.shape)
    case .behindBracket: ("there is something between the host and the port", Self.shape)
    case .lateAt:
      (
        "there is an @ after the host in the URL",
        "in a password, write / ? # @ as %2F %3F %23 %40"
      )
    case .port: ("the port in the URL is not a number from 1 to 65535", Self.shape)
    case .database:
      ("the database in the URL is not a whole number", "end it with /0 or remove it")
    case .noMaster: ("the URL has no master name", "write redis+sentinel://HOST:26379/MASTER")
    case .noSocketPath:
      ("the URL has no absolute path of a socket", "write it as unix:///PATH")
    case .controlsInPath:
      ("the path of the socket contains control characters", "choose a plain one")
    case .longPath: ("the path of the socket is longer than 107 bytes", "choose a shorter one")
    case .encoding: ("the URL's percent-encoding is broken", "write a bare % as %25")
    case .noUTF8: ("the URL is not UTF-8 once decoded", "encode it as UTF-8")
    }
  }
}
