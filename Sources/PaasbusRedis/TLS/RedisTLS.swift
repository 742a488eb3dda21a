import NIOSSL
import Synchronization

/// The certificates and the key with which connections are encrypted.
///
/// Files are read once, when this is made: what names them may be a pipe, and a file that is being replaced
/// must not end an app. Where a server refuses what was read, or we refuse the server, and the files have
/// changed since, they are read again; what cannot be used leaves the last good content in place.
public final class RedisTLS: Sendable {
  /// Where certificates and keys stand, and whether the server is checked.
  public struct Options: Sendable, Hashable {
    /// A PEM file with authorities to trust beside the system's.
    public var authorityFile: String?
    /// A PEM file with the certificate to present, and its key unless ``keyFile`` is given.
    public var certificateFile: String?
    /// A PEM file with the private key of the certificate.
    public var keyFile: String?
    /// Whether any certificate of the server will do.
    public var skipsVerification = false
    /// May name the system's authorities: `SSL_CERT_FILE`, `SSL_CERT_DIR`.
    public var environment: [String: String] = [:]

    /// Nothing but what the system trusts.
    public init() {}

    fileprivate var files: [String] {
      [authorityFile, certificateFile, keyFile].compactMap(\.self)
    }
  }

  /// What the files hold.
  private struct Material: Sendable {
    var system: SystemAuthorities?
    var authorities: [NIOSSLCertificate] = []
    var chain: [NIOSSLCertificate] = []
    var key: NIOSSLPrivateKey?
    /// Of the files that can be read again.
    var marks: [String: TLSFile.Mark]
  }

  private struct State: Sendable {
    var material: Material
    /// By whether they check the server's certificate; made when first needed, which takes long.
    var contexts: [Bool: NIOSSLContext] = [:]
  }

  /// What a machine trusts, and nothing else.
  static let usual = try? RedisTLS(Options())

  /// What this was made of.
  public let options: Options
  private let state: Mutex<State>

  /// - Throws: ``TLSFileError``.
  public init(_ options: Options) throws(TLSFileError) {
    self.options = options
    state = Mutex(State(material: try Self.read(options)))
  }

  /// Whether the server can ask who we are.
  var presentsCertificate: Bool { options.certificateFile != nil }

  /// Whether this machine has authorities of its own.
  var hasSystemAuthorities: Bool { state.withLock { $0.material.system?.isEmpty == false } }

  /// - Throws: what the TLS library does.
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
      // Made without any authority, and so at once.
      guard (try? context(material, verifying: false)) != nil else {
        throw file.error(isInOtherOrder(material) ? .otherOrder : .doesNotFit)
      }
    }
    return material
  }

  /// Whether the key is that of a certificate which is not the first.
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

  /// Those of BoringSSL's own choice, and Ed25519 and P-521, which are not among them.
  private static let signatures: [SignatureAlgorithm] = [
    .ecdsaSecp256R1Sha256, .rsaPssRsaeSha256, .rsaPkcs1Sha256, .ecdsaSecp384R1Sha384,
    .rsaPssRsaeSha384, .rsaPkcs1Sha384, .rsaPssRsaeSha512, .rsaPkcs1Sha512, .ed25519,
    .ecdsaSecp521R1Sha512,
  ]
}
