#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A process with its descendants, and what they use by `/proc` (proc_pid_stat(5), proc_pid_statm(5)).
struct ProcessTree {
  /// With more than these the rest is not counted.
  static let maxProcesses = 64

  private static let pageSize = Int64(sysconf(CInt(_SC_PAGESIZE)))
  private static let ticksPerSecond = Double(sysconf(CInt(_SC_CLK_TCK)))

  /// Those that run, without those that were left out.
  private(set) var ids: Set<pid_t> = []
  private var own: Int64 = 0
  private var shared: Int64 = 0
  private var ticks: Int64 = 0

  /// In bytes. Pages of files and shared memory are counted once, since processes of one program mostly share them.
  var memory: Int64 { own + shared }
  /// Seconds that it and its children that have ended spent on processors.
  var processorTime: Double { Double(ticks) / Self.ticksPerSecond }

  /// - Parameters:
  ///   - root: the process at the top.
  ///   - hidden: those that are not counted, though their children are.
  init(of root: pid_t, without hidden: Set<pid_t>) {
    var rest = [root]
    var seen: Set<pid_t> = [root]
    while let id = rest.popLast(), ids.count < Self.maxProcesses {
      guard let process = Process(id), process.isAlive else { continue }
      if !hidden.contains(id) { add(process, id) }
      for child in Self.children(of: id) where seen.insert(child).inserted { rest.append(child) }
    }
  }

  private mutating func add(_ process: Process, _ id: pid_t) {
    ids.insert(id)
    ticks += process.ticks
    let pages = SystemFile.text("/proc/\(id)/statm")?.split(separator: " ").prefix(3).compactMap {
      Int64($0)
    }
    guard let pages, pages.count == 3 else { return }
    own += max(0, pages[1] - pages[2]) * Self.pageSize
    shared = max(shared, pages[2] * Self.pageSize)
  }

  private static func children(of id: pid_t) -> [pid_t] {
    SystemFile.names(in: "/proc/\(id)/task").flatMap { thread in
      SystemFile.ids("/proc/\(id)/task/\(thread)/children") ?? []
    }
  }

  /// Whether a process runs. One that has ended and was not waited for yet does not.
  static func isAlive(_ id: pid_t) -> Bool { Process(id)?.isAlive ?? false }

  /// What `/proc/ID/stat` says.
  private struct Process {
    let isAlive: Bool
    let ticks: Int64

    init?(_ id: pid_t) {
      // The name may have blanks and brackets in it, so it is looked for from behind.
      guard let text = SystemFile.text("/proc/\(id)/stat"),
        let end = text.lastIndex(of: ")")
      else { return nil }
      let words = text[text.index(after: end)...].split(separator: " ")
      guard words.count > 14 else { return nil }
      isAlive = !["Z", "X", "x"].contains(words[0])
      // Own and waited-for children's, in user and kernel mode.
      ticks = words[11...14].reduce(0) { $0 &+ (Int64($1) ?? 0) }
    }
  }
}
