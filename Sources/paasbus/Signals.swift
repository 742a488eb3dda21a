@preconcurrency import Dispatch

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The signals that ask a program to end, by name, in the order of their coming.
enum Signals {
  private static let names: [(number: CInt, name: String)] = [
    (SIGTERM, "SIGTERM"), (SIGINT, "SIGINT"), (SIGHUP, "SIGHUP"),
  ]

  /// From here on these signals end nothing by themselves. A SIGHUP that was ignored when we were
  /// started (`nohup`) stays ignored.
  static func stream() -> AsyncStream<String> {
    AsyncStream { continuation in
      let sources = names.compactMap { number, name -> (any DispatchSourceSignal)? in
        let before = signal(number, SIG_IGN)
        if number == SIGHUP, isIgnore(before) { return nil }
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler { continuation.yield(name) }
        source.resume()
        return source
      }
      continuation.onTermination = { _ in
        for source in sources { source.cancel() }
      }
    }
  }

  private static func isIgnore(_ handler: sighandler_t?) -> Bool {
    unsafeBitCast(handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
  }
}
