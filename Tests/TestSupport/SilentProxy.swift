import Foundation
import Redis

/// A proxy in front of a server that can fall silent: bytes of both directions are swallowed, and
/// no connection ends.
public final class SilentProxy: Sendable {
  public let port: Int
  private let process: ManagedProcess

  /// Starts one; in Python, so that a bug of ours in networking code cannot hide in it.
  public init(to server: RedisServer) async throws {
    port = try RedisServer.freePort()
    let program = """
      import socket, sys, threading, signal
      silent = threading.Event()
      signal.signal(signal.SIGUSR1, lambda *_: silent.set())
      signal.signal(signal.SIGUSR2, lambda *_: silent.clear())
      def pump(one, two, generation):
          try:
              while data := one.recv(65536):
                  if silent.is_set(): generation.append(1)
                  if not generation: two.sendall(data)
          except OSError: pass
          if not generation:
              for end in (one, two):
                  try: end.shutdown(socket.SHUT_RDWR)
                  except OSError: pass
      listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
      listener.settimeout(0.05)
      keep = []
      while True:
          try: client, _ = listener.accept()
          except TimeoutError: continue
          client.settimeout(None)
          keep.append(client)
          if silent.is_set(): continue
          server = socket.socket(socket.AF_UNIX); server.connect(sys.argv[2]); keep.append(server)
          generation = []
          for pair in ((client, server), (server, client)):
              threading.Thread(target=pump, args=(*pair, generation), daemon=True).start()
      """
    process = try ManagedProcess("python3", ["-c", program, "\(port)", server.socketPath])
    let host = RedisEndpoint.Host(name: "127.0.0.1", port: port)
    let connector = RedisConnector(endpoint: RedisEndpoint(address: .tcp(host)))
    try await eventually("the proxy passes on") {
      try await connector.withConnection { _ in true }
    }
  }

  deinit { process.signal(SIGKILL) }

  public var url: String { "redis://127.0.0.1:\(port)" }

  /// From here on nothing passes; connections that were open now stay dead for ever.
  public func fallSilent() { process.signal(SIGUSR1) }
  public func speak() { process.signal(SIGUSR2) }
}
