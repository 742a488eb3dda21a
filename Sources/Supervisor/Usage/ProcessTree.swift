#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What `/proc/ID/stat` says of a process (proc_pid_stat(5)).
struct ProcessStatus: Sendable {
  /// Whether it runs. One that has ended and was not waited for yet does not.
  let isAlive: Bool
  let parent: pid_t
  /// What it spent on processors, with its children that were waited for.
  let ticks: Int64
  /// When it started, in ticks since the system did.
  let started: Int64

  /// nil where there is no such process.
  init?(_ id: pid_t) {
    // The name may have blanks and brackets in it, so it is looked for from behind.
    guard let text = SystemFile.text("/proc/\(id)/stat"), let end = text.lastIndex(of: ")") else {
      return nil
    }
    let words = text[text.index(after: end)...].split(separator: " ")
    guard words.count > 19, let parent = pid_t(words[1]), let started = Int64(words[19]) else {
      return nil
    }
    (self.parent, self.started) = (parent, started)
    isAlive = !["Z", "X", "x"].contains(words[0])
    // In user and kernel mode, and the same of its children.
    ticks = words[11...14].reduce(0) { $0 &+ (Int64($1) ?? 0) }
  }

  /// The processes above one, up to process 1.
  static func ancestors(of id: pid_t) -> Set<pid_t> {
    var ancestors: Set<pid_t> = []
    var next = ProcessStatus(id)?.parent
    while let id = next, id > 0, ancestors.insert(id).inserted { next = ProcessStatus(id)?.parent }
    return ancestors
  }
}

/// What a process with its descendants uses by `/proc`.
struct ProcessTree {
  /// With more than these the rest is not counted.
  static let maxProcesses = 64
  /// Only these of a process's threads are asked for children, and of all processes.
  private static let maxThreads = (each: 64, all: 256)

  private static let pageSize = Int64(sysconf(CInt(_SC_PAGESIZE)))
  private static let ticksPerSecond = Double(sysconf(CInt(_SC_CLK_TCK)))

  /// Those that run and are counted.
  private(set) var ids: Set<pid_t> = []
  /// Whether there are more of them.
  private(set) var isCut = false
  private var own: Int64 = 0
  private var shared: Int64 = 0
  private var ticks: Int64 = 0

  /// In bytes. Pages of files and shared memory are counted once, since processes of one program mostly share them.
  var memory: Int64 { own + shared }
  /// Seconds that they and their children that have ended spent on processors; nil where not all were counted, since
  /// the ones that are left out may differ from one time to the next.
  var processorTime: Double? { isCut ? nil : Double(ticks) / Self.ticksPerSecond }

  /// - Parameters:
  ///   - root: the process at the top.
  ///   - hidden: those that are not counted, though their children are.
  init(of root: pid_t, without hidden: Set<pid_t>) {
    var rest = [root][...]
    var seen: Set<pid_t> = [root]
    var threads = Self.maxThreads.all
    while let id = rest.popFirst() {
      guard let process = ProcessStatus(id) else { continue }
      if !hidden.contains(id) { add(process, id) }
      guard process.isAlive, !isCut else { continue }
      for child in Self.children(of: id, &threads) where seen.insert(child).inserted {
        rest.append(child)
      }
    }
  }

  /// - Parameter ids: processes that are known already.
  init(_ ids: Set<pid_t>) {
    for id in ids.sorted() { if let process = ProcessStatus(id) { add(process, id) } }
  }

  private mutating func add(_ process: ProcessStatus, _ id: pid_t) {
    guard ids.count < Self.maxProcesses else {
      isCut = true
      return
    }
    // What one has spent that was not waited for yet is not among its parent's.
    ticks += process.ticks
    guard process.isAlive else { return }
    ids.insert(id)
    let pages = SystemFile.text("/proc/\(id)/statm")?.split(separator: " ").prefix(3).compactMap {
      Int64($0)
    }
    // The whole size, what is in memory, and what of that may be shared (proc_pid_statm(5)).
    guard let pages, pages.count == 3 else { return }
    own += max(0, pages[1] - pages[2]) * Self.pageSize
    shared = max(shared, pages[2] * Self.pageSize)
  }

  /// In the order of their ids, so that the same are counted each time.
  private static func children(of id: pid_t, _ threads: inout Int) -> [pid_t] {
    let asked = SystemFile.names(in: "/proc/\(id)/task").compactMap { pid_t($0) }.sorted()
      .prefix(min(maxThreads.each, threads))
    threads -= asked.count
    return asked.flatMap { SystemFile.ids("/proc/\(id)/task/\($0)/children") ?? [] }.sorted()
  }
}
