import NIOSSL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The authorities that this machine trusts, and where they are found. `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name others, as for OpenSSL (SSL_CTX_load_verify_locations(3)). In a folder,
/// every file is read.
struct SystemAuthorities: Sendable {
  /// The files of Debian, Ubuntu, Arch and Alpine; of Fedora; of openSUSE; of Alpine and the BSDs.
  private static let bundles = [
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
  ]
  private static let folder = "/etc/ssl/certs"

  /// The authorities that the variables named.
  private var named: [NIOSSLCertificate] = []
  /// The file or folder at the usual place, which the TLS library reads itself.
  private var path: String?

  var isEmpty: Bool { named.isEmpty && path == nil }

  /// - Throws: ``TLSFileError``.
  init(_ environment: [String: String]) throws(TLSFileError) {
    let file = environment["SSL_CERT_FILE"]
    let folders = environment["SSL_CERT_DIR"]
    if let file {
      named += try TLSFile(file, as: .system(variable: "SSL_CERT_FILE")).certificates
    }
    if let folders { named += try Self.certificates(in: folders) }
    if file == nil, let bundle = Self.bundles.first(where: Self.isFilled) {
      path = bundle
    } else if folders == nil, !Self.names(in: Self.folder).isEmpty {
      path = Self.folder
    }
  }

  /// The certificates in the folders of a list. The folders also contain many other files, which
  /// are skipped. Missing folders are skipped as well, as long as one folder exists.
  private static func certificates(in list: String) throws(TLSFileError) -> [NIOSSLCertificate] {
    let role = TLSFileError.Role.system(variable: "SSL_CERT_DIR")
    let folders = list.split(separator: ":").map(String.init)
    let readable = folders.filter { access($0, R_OK) == 0 }
    guard !readable.isEmpty else { throw TLSFileError(role: role, fault: .missing) }
    return readable.flatMap { folder in names(in: folder).map { "\(folder)/\($0)" } }
      .filter { TLSFile.Mark($0) != nil }
      .flatMap { (try? TLSFile($0, as: role).certificates) ?? [] }
  }

  private static func names(in folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
  }

  private static func isFilled(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_size > 0 && access(path, R_OK) == 0
  }

  /// Makes a client trust these authorities and some more.
  func apply(with others: [NIOSSLCertificate], to configuration: inout TLSConfiguration) {
    configuration.trustRoots = path.map { .file($0) } ?? .certificates([])
    configuration.additionalTrustRoots = [.certificates(named + others)]
  }
}
