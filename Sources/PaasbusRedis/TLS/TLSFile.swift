import NIOSSL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A PEM file as it was read, and its content.
struct TLSFile: Sendable {
  /// What distinguishes a file from an earlier file of the same name.
  struct Mark: Hashable, Sendable {
    private let device: UInt64
    private let number: UInt64
    private let size: Int64
    private let seconds: Int
    private let nanoseconds: Int

    /// nil where there is no regular file, since only a regular file can be read again.
    init?(_ path: String) {
      var status = stat()
      guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
      device = UInt64(status.st_dev)
      number = UInt64(status.st_ino)
      size = Int64(status.st_size)
      seconds = status.st_mtim.tv_sec
      nanoseconds = status.st_mtim.tv_nsec
    }
  }

  /// A bundle of all authorities has 200 to 300 kB.
  private static let maxSize = 16 * 1024 * 1024
  /// How long to wait for data from a pipe, in ms.
  private static let patience: CInt = 3000

  let path: String
  let role: TLSFileError.Role
  private let bytes: [UInt8]

  /// - Throws: ``TLSFileError``.
  init(_ path: String, as role: TLSFileError.Role) throws(TLSFileError) {
    self.path = path
    self.role = role
    bytes = try Self.read(path, role)
    if let fault = Self.fault(of: bytes) {
      throw TLSFileError(role: role, fault: fault, path: path)
    }
  }

  // MARK: Content

  /// - Throws: ``TLSFileError`` where the file contains none.
  var certificates: [NIOSSLCertificate] {
    get throws(TLSFileError) {
      guard holds("CERTIFICATE-----") else { throw error(.otherContent) }
      do {
        return try NIOSSLCertificate.fromPEMBytes(bytes)
      } catch {
        throw self.error(.malformed)
      }
    }
  }

  var hasKey: Bool { holds("PRIVATE KEY-----") }

  /// - Throws: ``TLSFileError`` where the file contains none.
  var key: NIOSSLPrivateKey {
    get throws(TLSFileError) {
      guard hasKey else { throw error(.otherContent) }
      guard !holds("ENCRYPTED") else { throw error(.protected) }
      do {
        return try NIOSSLPrivateKey(bytes: bytes, format: .pem)
      } catch {
        throw self.error(.malformed)
      }
    }
  }

  func error(_ fault: TLSFileError.Fault) -> TLSFileError {
    TLSFileError(role: role, fault: fault, path: path)
  }

  private func holds(_ text: String) -> Bool { bytes.firstRange(of: Array(text.utf8)) != nil }

  private static func fault(of bytes: [UInt8]) -> TLSFileError.Fault? {
    if bytes.allSatisfy({ $0 == 0x20 || (0x09...0x0D).contains($0) }) { return .empty }
    for mark in [[0xEF, 0xBB, 0xBF], [0xFF, 0xFE], [0xFE, 0xFF]] as [[UInt8]]
    where bytes.starts(with: mark) {
      return .byteOrderMark
    }
    if bytes.firstRange(of: Array("-----BEGIN ".utf8)) != nil { return nil }
    // DER and PKCS #12 both begin with a long SEQUENCE of ASN.1 (X.690, 8.9).
    return bytes.first == 0x30 && bytes.contains { $0 >= 0x80 } ? .binary : .noPEM
  }

  // MARK: Reading

  private static func read(
    _ path: String, _ role: TLSFileError.Role
  ) throws(TLSFileError) -> [UInt8] {
    // O_NONBLOCK, since a pipe that no process has opened for writing must not block us.
    let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else {
      let number = errno
      guard number == ENOENT || number == ENAMETOOLONG || number == ENOTDIR else {
        throw TLSFileError(role: role, fault: .unreadable(number), path: path)
      }
      let fault = SecretKind(of: path).map(TLSFileError.Fault.noFileName) ?? .missing
      throw TLSFileError(role: role, fault: fault)
    }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = systemRead(descriptor, &buffer, buffer.count)
      if count > 0 {
        bytes += buffer[..<count]
        if bytes.count > maxSize {
          throw TLSFileError(role: role, fault: .tooLarge, path: path)
        }
      } else if count == 0 ? bytes.isEmpty && isPipe(descriptor) : errno == EAGAIN {
        // The writer of the pipe has not begun, has paused, or has ended without writing.
        guard let news = expect(descriptor) else {
          throw TLSFileError(role: role, fault: .silent, path: path)
        }
        if !news { return bytes }
      } else if count == 0 {
        return bytes
      } else if errno != EINTR {
        throw TLSFileError(role: role, fault: .unreadable(errno), path: path)
      }
    }
  }

  private static func isPipe(_ descriptor: CInt) -> Bool {
    var status = stat()
    return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
  }

  /// Waits until there is something to read (true) or the pipe has no writer left (false); nil
  /// where neither happens in time.
  private static func expect(_ descriptor: CInt) -> Bool? {
    var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&state, 1, patience) > 0 else { return nil }
    return state.revents & Int16(POLLIN) != 0
  }
}

private func systemRead(_ descriptor: CInt, _ buffer: inout [UInt8], _ count: Int) -> Int {
  read(descriptor, &buffer, count)
}
