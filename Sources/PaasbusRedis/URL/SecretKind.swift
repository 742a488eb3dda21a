/// What a value looks like that may contain a secret. Such a value is described by its kind instead
/// of shown.
public enum SecretKind: String, Sendable, Hashable {
  case privateKey = "a private key"
  case certificate = "a certificate"
  case url = "a URL"
  case login = "a login"
  case longText = "a long text"

  /// The kind of a value; nil for one that may be shown.
  public init?(of value: String) {
    let bytes = value.utf8
    if value.occurrences(of: "PRIVATE KEY") > 0 {
      self = .privateKey
    } else if value.occurrences(of: "-----BEGIN") > 0 {
      self = .certificate
    } else if value.occurrences(of: "://") > 0 {
      self = .url
    } else if bytes.contains(UInt8(ascii: "@")) {
      self = .login
    } else if bytes.count > Self.maxShown || value.contains(where: \.isNewline) {
      self = .longText
    } else {
      return nil
    }
  }

  /// Whether a value surely is a secret or contains one, so that it cannot be used as a name
  /// either.
  public static func isCertain(_ value: String) -> Bool {
    switch SecretKind(of: value) {
    case .privateKey: true
    case .url: value.contains("@")
    case .certificate, .login, .longText, nil: false
    }
  }

  /// Longer than a name, and shorter than a key in base64.
  private static let maxShown = 100
}
