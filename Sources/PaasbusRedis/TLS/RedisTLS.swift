import NIOSSL
import Synchronization

/// The certificates and the key with which connections are encrypted.
///
/// Files are read once, when this is made: a file may be a pipe, and an app must not fail since a
/// file is just being replaced. Where the server refuses our certificate, or we refuse the
/// server's, and the files have changed since, they are read again. Where the new content cannot be
/// used, the last good content stays in use.
public final class RedisTLS: Sendable {
  /// The files with certificates and keys, and whether the server is checked.
  public struct Options: Sendable, Hashable {
    /// A PEM file with authorities to trust in addition to the system's.
    public var authorityFile: String?
    /// A PEM file with the certificate to present, and its key unless ``keyFile`` is given.
    public var certificateFile: String?
    /// A PEM file with the private key of the certificate.
    public var keyFile: String?
    /// Whether any certificate of the server is accepted.
    public var skipsVerification = false
    /// The variables, which may name the system's authorities: `SSL_CERT_FILE`, `SSL_CERT_DIR`.
    public var environment: [String: String] = [:]

    /// The options to trust only what the system trusts.
    public init() {}

    fileprivate var files: [String] {
      [authorityFile, certificateFile, keyFile].compactMap(\.self)
    }
  }

  /// The content of the files.
  private struct Material: Sendable {
    var system: SystemAuthorities?
    var authorities: [NIOSSLCertificate] = []
    var chain: [NIOSSLCertificate] = []
    var key: NIOSSLPrivateKey?
    /// The marks of those files that can be read again.
    var marks: [String: TLSFile.Mark]
  }

  private struct State: Sendable {
    var material: Material
    /// The contexts, by whether they check the server's certificate. Each is made when it is first
    /// needed, since that takes long.
    var contexts: [Bool: NIOSSLContext] = [:]
  }

  /// Trusts what the machine trusts, and nothing else.
  static let usual = try? RedisTLS(Options())

  /// The options from which this was made.
  public let options: Options
  private let state: Mutex<State>

  /// - Throws: ``TLSFileError``.
  public init(_ options: Options) throws(TLSFileError) {
    self.options = options
    state = Mutex(State(material: try Self.read(options)))
  }

  /// Whether we present a certificate to the server.
  var presentsCertificate: Bool { options.certificateFile != nil }

  /// Whether this machine has authorities of its own.
  var hasSystemAuthorities: Bool { state.withLock { $0.material.system?.isEmpty == false } }

  /// - Throws: what the TLS library throws.
  func context(verifying: Bool) throws -> NIOSSLContext {
    try state.withLock { state in
      if let known = state.contexts[verifying] { return known }
      let context = try Self.context(state.material, verifying: verifying)
      state.contexts[verifying] = context
      return context
    }
  }

  /// Reads files that have changed; says whether there is something new to try.
  func renew() -> Bool {
    let known = state.withLock(\.material.marks)
    guard Self.marks(options) != known, let material = try? Self.read(options) else { return false }
    state.withLock { $0 = State(material: material) }
    return true
  }

  // MARK: Reading

  private static func marks(_ options: Options) -> [String: TLSFile.Mark] {
    var marks: [String: TLSFile.Mark] = [:]
    for file in options.files { marks[file] = TLSFile.Mark(file) }
    return marks
  }

  private static func read(_ options: Options) throws(TLSFileError) -> Material {
    var material = Material(marks: marks(options))
    if !options.skipsVerification { material.system = try SystemAuthorities(options.environment) }
    if let file = options.authorityFile {
      material.authorities = try TLSFile(file, as: .authority).certificates
    }
    if let name = options.certificateFile {
      let file = try TLSFile(name, as: .certificate)
      material.chain = try file.certificates
      if options.keyFile == nil {
        guard file.hasKey else { throw TLSFileError(role: .certificate, fault: .alone) }
        material.key = try file.key
      }
    }
    if let name = options.keyFile {
      let file = try TLSFile(name, as: .key)
      material.key = try file.key
      guard !material.chain.isEmpty else { throw TLSFileError(role: .key, fault: .alone) }
      // A context without any authority is made quickly.
      guard (try? context(material, verifying: false)) != nil else {
        throw file.error(isInOtherOrder(material) ? .otherOrder : .doesNotFit)
      }
    }
    return material
  }

  /// Whether the key belongs to a certificate that is not the first.
  private static func isInOtherOrder(_ material: Material) -> Bool {
    material.chain.dropFirst().contains { certificate in
      var other = material
      other.chain = [certificate]
      return (try? context(other, verifying: false)) != nil
    }
  }

  // MARK: Contexts

  private static func context(_ material: Material, verifying: Bool) throws -> NIOSSLContext {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.minimumTLSVersion = .tlsv12
    configuration.curves = [.x25519, .secp256r1, .secp384r1, .secp521r1]
    configuration.verifySignatureAlgorithms = signatures + [.rsaPkcs1Sha1]
    configuration.signingSignatureAlgorithms = signatures
    configuration.certificateChain = material.chain.map { .certificate($0) }
    configuration.privateKey = material.key.map { .privateKey($0) }
    if verifying {
      material.system?.apply(with: material.authorities, to: &configuration)
    } else {
      configuration.certificateVerification = .none
    }
    return try NIOSSLContext(configuration: configuration)
  }

  /// The algorithms that BoringSSL chooses itself, plus Ed25519 and P-521, which it does not
  /// choose.
  private static let signatures: [SignatureAlgorithm] = [
    .ecdsaSecp256R1Sha256, .rsaPssRsaeSha256, .rsaPkcs1Sha256, .ecdsaSecp384R1Sha384,
    .rsaPssRsaeSha384, .rsaPkcs1Sha384, .rsaPssRsaeSha512, .rsaPkcs1Sha512, .ed25519,
    .ecdsaSecp521R1Sha512,
  ]
}
