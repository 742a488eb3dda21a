import CSupervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A program to start as our child; it ends when we end.
public struct ChildProgram {
  /// The arguments with their final zeros.
  private let arguments: [[CChar]]
  private let variables: [(name: String, value: String)]

  /// - Parameters:
  ///   - arguments: each with its final zero.
  ///   - variables: replace those of the same name in our environment.
  public init(arguments: [[CChar]], variables: [(name: String, value: String)] = []) {
    self.arguments = arguments
    self.variables = variables
  }

  public init(_ words: [String]) {
    self.init(arguments: words.map { Array($0.utf8CString) })
  }

  /// Variables by which systemd names the process that it started (sd_listen_fds(3),
  /// sd_watchdog_enabled(3), systemd.exec(5)): where such a variable names us, it has to name the
  /// program instead.
  private static let idVariables = ["LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"]

  /// A program that was started.
  public struct Process: Sendable {
    public let id: pid_t
    /// Whether it gets its death signal when we end; some systems refuse that.
    public let isTied: Bool
  }

  /// Starts it with the signal settings that this process had at its beginning.
  ///
  /// - Returns: nil with `errno` set where it could not be started.
  public func spawn(deathSignal: CInt, leadsGroup: Bool = false) -> Process? {
    let named = Self.idVariables.filter { getenv($0).map { atoi($0) == getpid() } ?? false }
    let room = String(repeating: "0", count: Int(CSUPERVISOR_ID_DIGITS))
    let words = arguments.map { strdup($0) }
    let added = variables.map { strdup("\($0.name)=\($0.value)") }
    let ids = named.map { strdup("\($0)=\(room)") }
    defer { for copy in words + added + ids { free(copy) } }
    let vector = words.map { UnsafePointer($0) } + [nil]
    let replaced = variables.map(\.name) + named
    let environment =
      inheritedVariables(without: replaced) + (added + ids).map { UnsafePointer($0) } + [nil]
    var isTied = false
    let id = vector.withUnsafeBufferPointer { vector in
      environment.withUnsafeBufferPointer { environment in
        (ids + [nil]).withUnsafeBufferPointer { ids in
          var program = csupervisor_program()
          program.arguments = vector.baseAddress
          program.environment = environment.baseAddress
          program.death_signal = deathSignal
          program.signals = csupervisor_inherited_signals()
          program.leads_group = leadsGroup
          program.own_id_variables = ids.baseAddress
          return csupervisor_spawn(&program, &isTied)
        }
      }
    }
    return id > 0 ? Process(id: id, isTied: isTied) : nil
  }

  /// Our environment, byte for byte, without the variables that are replaced.
  private func inheritedVariables(without names: [String]) -> [UnsafePointer<CChar>?] {
    var inherited: [UnsafePointer<CChar>?] = []
    var entry = environ
    while let variable = entry.pointee {
      let isReplaced = names.contains {
        strncmp(variable, "\($0)=", $0.utf8.count + 1) == 0
      }
      if !isReplaced { inherited.append(UnsafePointer(variable)) }
      entry += 1
    }
    return inherited
  }
}
