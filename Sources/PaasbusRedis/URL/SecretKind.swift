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
    if value.contains("PRIVATE KEY") {
      self = .privateKey
    } else if value.contains("-----BEGIN") {
      self = .certificate
    } else if value.contains("://") {
      self = .url
    } else if value.contains("@") {
      self = .login
    } else if value.utf8.count > Self.maxShown || value.contains(where: \.isNewline) {
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
