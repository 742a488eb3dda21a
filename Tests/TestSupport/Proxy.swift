import Foundation
import PaasbusRedis

/// A proxy in front of a server that can fall silent (bytes of both directions are swallowed, and
/// no connection ends) or lead to another server.
package final class Proxy: Sendable {
  package let port: Int
  private let process: ManagedProcess
  /// Holds the path of the socket that new connections lead to.
  private let target = URL(filePath: "/tmp/paasbus-test-target-\(UUID().uuidString.prefix(12))")

  /// Starts one; in Python, so that a bug of ours in networking code cannot hide in it.
  ///
  /// - Parameters:
  ///   - idleLimit: a connection over which nothing goes for longer is cut.
  ///   - rewriting: what of a server's answers is replaced by something else.
  ///   - commands: a connection on which one of these is asked for ends without an answer.
  package convenience init(
    to server: RedisServer, idleLimit: Duration? = nil,
    rewriting: (answer: String, to: String)? = nil, closingAt commands: [String] = []
  ) async throws {
    try await self.init(
      toSocket: server.socketPath, idleLimit: idleLimit, rewriting: rewriting, closingAt: commands)
  }

  package init(
    toSocket path: String, idleLimit: Duration? = nil,
    rewriting: (answer: String, to: String)? = nil, closingAt commands: [String] = []
  ) async throws {
    port = try RedisServer.freePort()
    try Data(path.utf8).write(to: target)
    let program = """
      import socket, sys, threading, signal, time
      limit = float(sys.argv[3])
      old, new = sys.argv[4].encode(), sys.argv[5].encode()
      closing = [b"\\r\\n" + word.encode() + b"\\r\\n" for word in sys.argv[6:]]
      silent, cut = threading.Event(), threading.Event()
      signal.signal(signal.SIGUSR1, lambda *_: silent.set())
      signal.signal(signal.SIGUSR2, lambda *_: silent.clear())
      signal.signal(signal.SIGHUP, lambda *_: cut.set())
      def end(pair):
          for one in pair:
              try: one.shutdown(socket.SHUT_RDWR)
              except OSError: pass
      heard = {}
      def pump(one, two, dead, pair):
          try:
              while data := one.recv(65536):
                  heard[pair] = time.monotonic()
                  if one is pair[1] and old: data = data.replace(old, new)
                  if one is pair[0] and any(word in data for word in closing): break
                  if silent.is_set():
                      dead.append(1)
                      print("swallowed", flush=True)
                  if not dead: two.sendall(data)
          except OSError: pass
          heard.pop(pair, None)
          if not dead: end((one, two))
      listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
      listener.settimeout(0.05)
      keep = []
      while True:
          if cut.is_set():
              cut.clear()
              for pair in keep: end(pair)
              keep.clear()
          for pair in [p for p in keep if limit and time.monotonic() > heard.get(p, 1e99) + limit]:
              print("cut", flush=True)
              end(pair)
              keep.remove(pair)
          try: client, _ = listener.accept()
          except TimeoutError: continue
          client.settimeout(None)
          server = socket.socket(socket.AF_UNIX)
          keep.append((client, server))
          heard[client, server] = time.monotonic()
          if silent.is_set(): continue
          try: server.connect(open(sys.argv[2]).read())
          except OSError:
              client.close()
              continue
          dead = []
          for pair in ((client, server), (server, client)):
              whole = (*pair, dead, (client, server))
              threading.Thread(target=pump, args=whole, daemon=True).start()
      """
    let limit = idleLimit.map { $0 / .seconds(1) } ?? 0
    process = try ManagedProcess(
      "python3",
      [
        "-c", program, "\(port)", target.path, "\(limit)", rewriting?.answer ?? "",
        rewriting?.to ?? "",
      ] + commands)
    try await eventually("the proxy listens") { [port] in
      _ = try await RawSocket.connect(port: port)
      return true
    }
  }

  deinit {
    process.signal(SIGKILL)
    try? FileManager.default.removeItem(at: target)
  }

  package var url: String { "redis://127.0.0.1:\(port)" }
  package var connector: RedisConnector {
    let host = RedisEndpoint.Host(name: "127.0.0.1", port: port)
    return RedisConnector(endpoint: RedisEndpoint(address: .tcp(host)))
  }

  /// How many connections were cut for being idle.
  package var cuts: Int { process.lines.count { $0 == "cut" } }

  /// Whether something came while it was silent.
  package var hasSwallowed: Bool { process.lines.contains("swallowed") }

  /// From here on nothing passes; connections that were open now stay dead for ever.
  package func fallSilent() { process.signal(SIGUSR1) }
  package func speak() { process.signal(SIGUSR2) }

  /// Ends all connections; new ones lead to this server.
  package func point(to server: RedisServer) async throws {
    try Data(server.socketPath.utf8).write(to: target, options: .atomic)
    process.signal(SIGHUP)
  }
}
