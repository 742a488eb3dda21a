import Foundation
import TestSupport
import Testing

extension Paasbus {
  /// Starts `announce … -- words` and waits until it is announced.
  static func wrap(
    _ words: [String], options: [String] = [], on server: RedisServer,
    environment: [String: String] = [:]
  ) async throws -> ManagedProcess {
    let process = try start(
      ["announce"] + options + ["--"] + words, on: server, environment: environment)
    try await eventually("it is announced: \(process.errorOutput)") {
      process.errorOutput.contains("announced ")
    }
    return process
  }
}

/// The two processes of a wrapped command, as seen from outside.
extension ManagedProcess {
  /// The announcer's process: the child that runs the same program.
  var announcerID: pid_t? {
    get throws {
      try Processes.children(of: processID).first {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\($0)/exe"))
          == Paasbus.path
      }
    }
  }

  /// Kills the announcer, and waits until another one is there.
  func killAnnouncer() async throws {
    let before = try #require(try announcerID)
    kill(before, SIGKILL)
    try await eventually("another announcer is there") {
      let now = try self.announcerID
      return now != nil && now != before
    }
  }
}

extension Processes {
  static func children(of parent: pid_t) throws -> [pid_t] {
    ids.filter { id in
      let text = (try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8)) ?? ""
      let fields = text.split(separator: ") ").last?.split(separator: " ") ?? []
      return fields.count > 1 && pid_t(fields[1]) == parent
    }
  }

  /// The state of one, as `S` or `T`; nil for one that is not there.
  static func state(of id: pid_t) -> Substring? {
    let text = (try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8)) ?? ""
    return text.split(separator: ") ").last?.split(separator: " ").first
  }
}

/// Programs in Python that start paasbus in a way that a shell cannot.
enum Odd {
  /// Streams that lead to a pipe that is full and that nobody reads.
  static let stalled = """
    import fcntl, os, sys
    reading, writing = os.pipe()
    flags = fcntl.fcntl(writing, fcntl.F_GETFL)
    fcntl.fcntl(writing, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    for piece in (4096, 1):
        try:
            while True: os.write(writing, b"x" * piece)
        except BlockingIOError: pass
    fcntl.fcntl(writing, fcntl.F_SETFL, flags)
    os.set_inheritable(reading, True)
    for stream in sys.argv[1]: os.dup2(writing, int(stream))
    os.execv(sys.argv[2], sys.argv[2:])
    """

  /// A terminal that is read no more once the program has drawn on it, and is resized until it takes
  /// nothing further; then a signal comes. Ends with 0 if the program ended within two seconds.
  static let unreadTerminal = """
    import fcntl, os, pty, struct, sys, termios, time
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.argv[2], sys.argv[2:])
    def waiting():
        return struct.unpack("i", fcntl.ioctl(terminal, termios.FIONREAD, bytes(4)))[0]
    def resize(rows):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, 200, 0, 0))
    deadline = time.monotonic() + 60
    while waiting() == 0 and time.monotonic() < deadline: time.sleep(0.01)
    seen, unchanged = 0, 0
    while unchanged < 100 and time.monotonic() < deadline:
        resize(40 + unchanged % 2)
        time.sleep(0.02)
        unchanged = unchanged + 1 if waiting() == seen else 0
        seen = waiting()
    os.kill(child, int(sys.argv[1]))
    asked = time.monotonic()
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() - asked > 2:
            os.kill(child, 9)
            sys.exit("still there")
        time.sleep(0.01)
    """

  /// A system that refuses prctl (seccomp(2)).
  static let withoutPrctl = """
    import ctypes, os, platform, struct, sys
    number = {"x86_64": 157, "aarch64": 167}[platform.machine()]
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
    filter = b"".join(struct.pack("HBBI", *line) for line in code)
    memory = ctypes.create_string_buffer(filter)
    program = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
    os.execv(sys.argv[1], sys.argv[1:])
    """

  static func start(
    _ program: String, _ words: [String], on server: RedisServer
  ) throws -> ManagedProcess {
    let environment = ManagedProcess.bareEnvironment.merging(["PAASBUS_URL": server.url]) { $1 }
    return try ManagedProcess("python3", ["-c", program] + words, environment: environment)
  }
}

/// A cgroup with a limit of processes, where this machine lets us make one.
struct PIDLimit {
  private static let root: String? = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].first { folder in
    let name = "\(folder)/paasbus-test-probe-\(getpid())"
    guard mkdir(name, 0o755) == 0 else { return false }
    defer { rmdir(name) }
    return access("\(name)/pids.max", W_OK) == 0
  }

  static var isPossible: Bool { root != nil }

  let folder: String

  static func with(_ body: (PIDLimit) async throws -> Void) async throws {
    let folder = "\(root ?? "")/paasbus-test-\(UUID().uuidString.prefix(12))"
    try #require(mkdir(folder, 0o755) == 0)
    do {
      try await body(PIDLimit(folder: folder))
    } catch {
      try await remove(folder)
      throw error
    }
    try await remove(folder)
  }

  private static func remove(_ folder: String) async throws {
    try await eventually("the group is empty") {
      let members = (try? String(contentsOfFile: "\(folder)/cgroup.procs", encoding: .utf8)) ?? ""
      for member in members.split(separator: "\n").compactMap({ pid_t($0) }) {
        kill(member, SIGKILL)
      }
      return rmdir(folder) == 0
    }
  }

  /// Starts paasbus in the group, with room for so many processes and threads.
  func start(
    _ words: [String], limit: Int, url: String
  ) throws -> ManagedProcess {
    try Data("\(limit)\n".utf8).write(to: URL(filePath: "\(folder)/pids.max"))
    return try ManagedProcess(
      "sh", ["-c", "echo $$ > \(folder)/cgroup.procs; exec \"$@\"", "sh", Paasbus.path] + words,
      environment: ManagedProcess.bareEnvironment.merging(["PAASBUS_URL": url]) { $1 })
  }
}
