import ExpressSessions

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension SessionSecrets {
  static let variable = "PAASBUS_SESSION_SECRET"

  /// The secrets of the app's cookies, from the file that is named or the environment.
  ///
  /// - Throws: ``Failure`` where there are none, or the file cannot be used. It repeats nothing of a secret.
  static func configured(_ options: SessionSecretOptions, _ setup: Setup) throws -> SessionSecrets {
    if let path = options.secretFile { return try read(path, setup.diagnostics) }
    let lines = setup.variable(variable).map(Self.lines) ?? []
    guard let secrets = SessionSecrets(lines.filter { !$0.isEmpty }) else {
      throw Failure(
        .configuration, "the secret of the app's session cookies is missing",
        remedy: "set \(variable), or give a file with it (--secret-file FILE)")
    }
    return secrets
  }

  private static func lines(_ text: String) -> [String] {
    text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }.map(String.init)
  }

  private static func read(_ path: String, _ diagnostics: Diagnostics) throws -> SessionSecrets {
    let (bytes, isOpenToOthers) = try SecretFile.read(path)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure(
        .configuration, "the file of --secret-file is not UTF-8",
        remedy: "write the secrets as UTF-8")
    }
    guard !text.hasPrefix("\u{FEFF}") else {
      throw Failure(
        .configuration, "the file of --secret-file begins with a byte order mark (BOM)",
        remedy: "save it as UTF-8 without the mark")
    }
    var lines = lines(text)
    if lines.last?.isEmpty == true { lines.removeLast() }
    if let empty = lines.firstIndex(of: "") {
      throw Failure(
        .configuration, "line \(empty + 1) of the file of --secret-file is empty",
        remedy: "remove it: with an empty secret everybody could sign a cookie")
    }
    guard let secrets = SessionSecrets(lines) else {
      throw Failure(
        .configuration, "the file of --secret-file is empty",
        remedy: "write one secret per line, the one that signs first")
    }
    if isOpenToOthers { diagnostics.note(.openSecretFile) }
    return secrets
  }
}

/// Reads a file that holds secrets.
enum SecretFile {
  private static let maxSize = 65_536
  /// How long to wait for data from a pipe, in ms.
  private static let patience: CInt = 3000

  /// - Returns: its content, and whether every user of this machine can read it.
  /// - Throws: ``Failure``, which repeats no path: it may be a secret in the place of a file's name.
  static func read(_ path: String) throws -> (bytes: [UInt8], isOpenToOthers: Bool) {
    // Without waiting for a pipe's writer, which may never come.
    let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure(errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw failure(errno) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while bytes.count <= maxSize {
      let count = systemRead(descriptor, &buffer)
      if count < 0, errno == EINTR { continue }
      if count < 0, errno == EAGAIN {
        var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&state, 1, patience) > 0 else { throw failure(ETIMEDOUT) }
        continue
      }
      guard count >= 0 else { throw failure(errno) }
      if count == 0 {
        let isRegular = status.st_mode & S_IFMT == S_IFREG
        return (bytes, isRegular && status.st_mode & S_IROTH != 0)
      }
      bytes += buffer[..<count]
    }
    throw Failure(
      .configuration, "the file of --secret-file is larger than 64 KiB",
      remedy: "write one secret per line")
  }

  private static func failure(_ number: CInt) -> Failure {
    Failure(
      .configuration,
      "the file of --secret-file cannot be read (\(String(cString: strerror(number))))",
      remedy:
        "check its name and permissions; a secret itself belongs in \(SessionSecrets.variable)")
  }
}

private func systemRead(_ descriptor: CInt, _ buffer: inout [UInt8]) -> Int {
  read(descriptor, &buffer, buffer.count)
}
