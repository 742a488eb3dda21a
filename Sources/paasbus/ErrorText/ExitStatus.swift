import PaasbusRedis
import Platforms
import Presence
import Terminal

/// The exit codes, from `sysexits.h` where that has a suitable one.
enum ExitStatus: Int32 {
  case done = 0
  /// A check failed, or the output could not be written.
  case failed = 1
  case usage = 64
  case unreachable = 69
  /// A bug of ours.
  case software = 70
  /// The server answered nonsense.
  case `protocol` = 76
  /// Credentials or permissions were refused.
  case refused = 77
  case configuration = 78
  case timedOut = 124
  /// A wrapped command exists but cannot be executed. If a command runs, we exit with its own
  /// status.
  case commandNotExecutable = 126
  case commandNotFound = 127
}

/// An error that ends the program: a line for the user and a code for a script.
struct Failure: Error {
  var status: ExitStatus
  /// What went wrong.
  var problem: String
  /// What to do.
  var remedy: String

  init(_ status: ExitStatus, _ problem: String, remedy: String) {
    self.status = status
    self.problem = problem
    self.remedy = remedy
  }

  /// Turns any error into what it means for the user.
  init(_ error: any Error) {
    switch error {
    case let failure as Failure: self = failure
    case let error as RedisError: self.init(error)
    case let error as PresenceError: self.init(error)
    case let error as RedisLocatorError: self.init(error)
    case let error as StreamError: self.init(error)
    default:
      self.init(.software, "\(error)", remedy: "this is a bug; please report it")
    }
  }
}
