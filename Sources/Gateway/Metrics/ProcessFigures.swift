#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What the system says of this process; nil where it says nothing (`proc(5)`).
struct ProcessFigures: Sendable {
  var processorSeconds: Double
  var residentBytes: Int64
  var openDescriptors: Int
  var maxDescriptors: Int64
  /// Since 1970.
  var startSeconds: Double

  static func read() -> ProcessFigures? {
    // The name in parentheses may hold anything; what follows does not.
    guard let status = file("/proc/self/stat"), let end = status.lastIndex(of: ")"),
      let boot = file("/proc/stat")?.split(separator: "\n").first(where: { $0.hasPrefix("btime ") }
      ),
      let bootSeconds = boot.split(separator: " ").last.flatMap({ Double($0) })
    else { return nil }
    let fields = status[status.index(after: end)...].split(separator: " ").map { Double($0) ?? 0 }
    // Numbered from the third field of the whole line.
    guard fields.count > 21 else { return nil }
    let ticks = Double(max(1, sysconf(CInt(_SC_CLK_TCK))))
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return ProcessFigures(
      processorSeconds: (fields[11] + fields[12]) / ticks,
      residentBytes: Int64(fields[21]) * Int64(sysconf(CInt(_SC_PAGESIZE))),
      openDescriptors: openDescriptors, maxDescriptors: Int64(clamping: limit.rlim_cur),
      startSeconds: bootSeconds + fields[19] / ticks)
  }

  private static var openDescriptors: Int {
    guard let folder = opendir("/proc/self/fd") else { return 0 }
    defer { closedir(folder) }
    var count = 0
    while readdir(folder) != nil { count += 1 }
    // The two dots, and the folder's own.
    return max(0, count - 3)
  }

  private static func file(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16_384)
    while true {
      let count = Glibc.read(descriptor, &buffer, buffer.count)
      guard count > 0 else { break }
      bytes += buffer[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
