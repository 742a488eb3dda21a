import Terminal

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension Failure {
  init(_ error: StreamError) {
    switch error {
    case .cannotWrite(let number):
      self.init(
        .failed, "cannot write to standard output (\(String(cString: strerror(number))))",
        remedy: "redirect it to something that can be written")
    case .cannotRead(let number):
      self.init(
        .failed, "cannot read standard input (\(String(cString: strerror(number))))",
        remedy: "give the message as an argument")
    case .tooMuchInput(let limit):
      self.init(
        .failed,
        "standard input holds more than \(limit / 1_048_576) MiB, the limit of Redis",
        remedy: "send less")
    }
  }
}
