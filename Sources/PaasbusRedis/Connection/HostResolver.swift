import NIOCore
import NIOPosix
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Looks up a host's addresses as the C library does (getaddrinfo(3)). Since that blocks, it is
/// done on a separate thread, which exists from the first look-up on. NIO's own resolver needs a
/// new thread each time, and waits for ever where an app has already as many threads as are
/// allowed.
final class HostResolver: Resolver, Sendable {
  private static let pool: NIOThreadPool = {
    let pool = NIOThreadPool(numberOfThreads: 1)
    pool.start()
    return pool
  }()

  private let older: EventLoopPromise<[SocketAddress]>
  private let newer: EventLoopPromise<[SocketAddress]>
  private let isCancelled = Atomic(false)
  private let pending = Mutex<String?>(nil)

  /// The name that is being looked up; nil once there is an answer.
  var pendingHost: String? { pending.withLock { $0 } }

  init(loop: any EventLoop) {
    (older, newer) = (loop.makePromise(), loop.makePromise())
  }

  func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
    older.futureResult
  }

  /// Starts the one look-up that finds both kinds of addresses. It is started here since NIO asks
  /// for these addresses first.
  func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
    pending.withLock { $0 = host }
    Self.pool.submit { state in
      // Where look-ups take long, an attempt that was given up must not delay those after it.
      guard state == .active, !self.isCancelled.load(ordering: .relaxed) else {
        return self.finish(.failure(RedisError(.closed)))
      }
      let found = Result { try Self.addresses(host, port) }
      self.pending.withLock { $0 = nil }
      self.finish(found)
    }
    return newer.futureResult
  }

  func cancelQueries() { isCancelled.store(true, ordering: .relaxed) }

  private func finish(_ result: Result<[SocketAddress], any Error>) {
    switch result {
    case .success(let addresses):
      newer.succeed(addresses.filter { $0.protocol == .inet6 })
      older.succeed(addresses.filter { $0.protocol == .inet })
    case .failure(let error):
      newer.fail(error)
      older.fail(error)
    }
  }

  /// - Throws: ``RedisError`` where the name does not resolve.
  fileprivate static func addresses(
    _ host: String, _ port: Int
  ) throws(RedisError) -> [SocketAddress] {
    var hints = addrinfo()
    hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
    hints.ai_protocol = CInt(IPPROTO_TCP)
    var first: UnsafeMutablePointer<addrinfo>?
    let status = getaddrinfo(host, String(port), &hints, &first)
    guard status == 0 else {
      throw RedisError(
        status == EAI_AGAIN ? .namesUnanswered(host: host) : .unresolved(host: host))
    }
    defer { freeaddrinfo(first) }
    var addresses: [SocketAddress] = []
    var next = first
    while let entry = next?.pointee {
      defer { next = entry.ai_next }
      guard let address = entry.ai_addr else { continue }
      switch entry.ai_family {
      case AF_INET:
        address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
          addresses.append(SocketAddress($0.pointee, host: host))
        }
      case AF_INET6:
        address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
          addresses.append(SocketAddress($0.pointee, host: host))
        }
      default: continue
      }
    }
    return addresses
  }
}

extension RedisEndpoint.Host {
  /// The addresses that the name stands for, as text. Blocks while they are looked up.
  ///
  /// - Throws: ``RedisError`` where there are none.
  package func addresses() throws(RedisError) -> [String] {
    try HostResolver.addresses(name, port).compactMap(\.ipAddress)
  }
}
