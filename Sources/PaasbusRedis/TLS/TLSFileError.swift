/// Why a file that TLS needs cannot be used. It contains nothing of the file's content, nor of a
/// value that is not a file's name.
public struct TLSFileError: Error, Hashable, Sendable {
  /// What the file is for.
  public enum Role: Hashable, Sendable {
    /// Authorities to trust in addition to the system's.
    case authority
    /// The certificate to present to the server.
    case certificate
    /// The private key of that certificate.
    case key
    /// The system's authorities, named by `SSL_CERT_FILE` or `SSL_CERT_DIR`.
    case system(variable: String)
  }

  /// What is wrong with it.
  public enum Fault: Hashable, Sendable {
    /// The value is not a file's name but looks like something else.
    case noFileName(SecretKind)
    case missing
    /// It cannot be read, for this `errno`.
    case unreadable(Int32)
    /// It is a pipe into which nothing was written.
    case silent
    case empty
    case tooLarge
    /// It begins with the mark that some editors write at the beginning (U+FEFF).
    case byteOrderMark
    /// It is binary (DER or PKCS #12) instead of PEM.
    case binary
    /// It is no PEM at all.
    case noPEM
    /// It is PEM but contains no certificate, or no key.
    case otherContent
    /// Its content cannot be read as what its header says.
    case malformed
    /// The key is encrypted by a passphrase.
    case protected
    /// The key does not belong to the certificate.
    case doesNotFit
    /// The key belongs to a certificate that is not the first in its file.
    case otherOrder
    /// There is a certificate to present but no key, or a key but no certificate.
    case alone
  }

  /// What the file is for.
  public var role: Role
  /// What is wrong with it.
  public var fault: Fault
  /// The file; nil where no file has that name.
  public var path: String?
}
