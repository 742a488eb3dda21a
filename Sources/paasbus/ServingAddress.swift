import Gateway

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Where `serve` listens and who may look, from its options and the environment: never open by accident.
struct ServingAddress {
  private static let passwordVariable = "PAASBUS_PANEL_PASSWORD"
  private static let minPassword = 16
  private static let usual = (host: "127.0.0.1", port: 8080)

  let address: Gateway.Configuration.Address
  let access: Access

  /// - Throws: ``Failure`` where a password is needed and missing, or too short.
  init(_ command: ServeCommand, _ setup: Setup) throws {
    let port = setup.variable("PORT")
    if let socket = command.socket {
      address = .unixSocket(path: socket)
    } else if let listen = command.listen.flatMap(HostAndPort.init) {
      address = .tcp(host: listen.host, port: listen.port)
    } else if let port {
      guard let number = Int(port), (1...65_535).contains(number) else {
        throw Failure(
          .configuration, "PORT is not a port number",
          remedy: "set it to a number from 1 to 65535, or give --listen")
      }
      address = .tcp(host: "::", port: number)
    } else {
      address = .tcp(host: Self.usual.host, port: Self.usual.port)
    }
    let basePath = command.basePath.flatMap(BasePath.init)?.path ?? ""
    let isExposed =
      !Self.isLoopback(address) || !command.host.isEmpty || !basePath.isEmpty
    let password = command.noLogin ? nil : setup.variable(Self.passwordVariable)
    if let password, password.count < Self.minPassword {
      throw Failure(
        .configuration,
        "\(Self.passwordVariable) is too short",
        remedy: "use \(Self.minPassword) characters or more, for example \(Self.suggestion)")
    }
    if isExposed, password == nil, !command.noLogin, !command.noPanel || !command.openMetrics {
      throw Failure(
        .configuration,
        "others can reach \(command.noPanel ? "these metrics" : "this panel"), and there is no password",
        remedy: "set \(Self.passwordVariable), for example to \(Self.suggestion), or give "
          + (command.noPanel ? "--open-metrics" : "--no-login"))
    }
    access = Access(
      password: password, isLoopback: Self.isLoopback(address), trustsProxy: command.noLogin,
      hosts: Set(command.host.compactMap(Access.hostName)),
      isBehindRouter: setup.identity.platform != nil,
      opensMetrics: command.openMetrics, basePath: basePath)
  }

  private static func isLoopback(_ address: Gateway.Configuration.Address) -> Bool {
    guard case .tcp(let host, _) = address else { return false }
    return ["localhost", "127.0.0.1", "::1"].contains(host)
  }

  /// A password that nobody guesses.
  private static var suggestion: String {
    let letters = Array("abcdefghijkmnpqrstuvwxyz23456789")
    return String((0..<24).compactMap { _ in letters.randomElement() })
  }

  // MARK: The system

  /// Lets this process have as many connections as it may.
  static func raiseDescriptorLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }

  /// - Parameter port: the one that is listened at; nil for a Unix socket.
  func remark(port: Int?) -> Remark {
    switch address {
    case .unixSocket(let path): return .servingSocket(path: path)
    case .tcp(let host, let asked):
      let shown = ["::", "0.0.0.0"].contains(host) ? "localhost" : host
      let name = shown.contains(":") ? "[\(shown)]" : shown
      return .serving(url: "http://\(name):\(port ?? asked)\(access.basePath)/")
    }
  }

  /// What it means that the address cannot be listened at.
  func failure(_ error: ListenError) -> Failure {
    let (place, option) =
      switch address {
      case .tcp(let host, let port): ("\(host):\(port)", "--listen")
      case .unixSocket(let path): (path, "--socket")
      }
    let problem =
      switch error {
      case .system(EADDRINUSE), .occupied: "another process listens at \(place)"
      case .system(EACCES): "this user may not listen at \(place)"
      case .system(EADDRNOTAVAIL): "\(place) is not an address of this machine"
      case .system(let number): "cannot listen at \(place) (\(String(cString: strerror(number))))"
      case .notAnAddress: "\(place) is not an address to listen at"
      case .notASocket: "\(place) exists and is not a socket"
      }
    return Failure(.configuration, problem, remedy: "give another address with \(option)")
  }
}
