import Foundation
import Redis

/// A proxy in front of a server that can fall silent (bytes of both directions are swallowed, and
/// no connection ends) or lead to another server.
public final class Proxy: Sendable {
  public let port: Int
  private let process: ManagedProcess
  /// Holds the path of the socket that new connections lead to.
  private let target = URL(filePath: "/tmp/paasbus-test-target-\(UUID().uuidString.prefix(12))")

  /// Starts one; in Python, so that a bug of ours in networking code cannot hide in it.
  public init(to server: RedisServer) async throws {
    port = try RedisServer.freePort()
    try Data(server.socketPath.utf8).write(to: target)
    let program = """
      import socket, sys, threading, signal
      silent, cut = threading.Event(), threading.Event()
      signal.signal(signal.SIGUSR1, lambda *_: silent.set())
      signal.signal(signal.SIGUSR2, lambda *_: silent.clear())
      signal.signal(signal.SIGHUP, lambda *_: cut.set())
      def end(pair):
          for one in pair:
              try: one.shutdown(socket.SHUT_RDWR)
              except OSError: pass
      def pump(one, two, dead):
          try:
              while data := one.recv(65536):
                  if silent.is_set(): dead.append(1)
                  if not dead: two.sendall(data)
          except OSError: pass
          if not dead: end((one, two))
      listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
      listener.settimeout(0.05)
      keep = []
      while True:
          if cut.is_set():
              cut.clear()
              for pair in keep: end(pair)
              keep.clear()
          try: client, _ = listener.accept()
          except TimeoutError: continue
          client.settimeout(None)
          server = socket.socket(socket.AF_UNIX)
          keep.append((client, server))
          if silent.is_set(): continue
          try: server.connect(open(sys.argv[2]).read())
          except OSError:
              client.close()
              continue
          dead = []
          for pair in ((client, server), (server, client)):
              threading.Thread(target=pump, args=(*pair, dead), daemon=True).start()
      """
    process = try ManagedProcess("python3", ["-c", program, "\(port)", target.path])
    try await eventually("the proxy passes on") { [connector] in
      try await connector.withConnection { _ in true }
    }
  }

  deinit {
    process.signal(SIGKILL)
    try? FileManager.default.removeItem(at: target)
  }

  public var url: String { "redis://127.0.0.1:\(port)" }
  public var connector: RedisConnector {
    let host = RedisEndpoint.Host(name: "127.0.0.1", port: port)
    return RedisConnector(endpoint: RedisEndpoint(address: .tcp(host)))
  }

  /// From here on nothing passes; connections that were open now stay dead for ever.
  public func fallSilent() { process.signal(SIGUSR1) }
  public func speak() { process.signal(SIGUSR2) }

  /// Ends all connections; new ones lead to this server.
  public func point(to server: RedisServer) async throws {
    try Data(server.socketPath.utf8).write(to: target, options: .atomic)
    process.signal(SIGHUP)
  }
}
