import PaasbusRedis

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What an app keeps in a session: JSON with a member `cookie` and the app's own.
public struct SessionContent: Sendable {
  /// Why a value is not a session's content, or not one that is read here.
  public enum Fault: Error, Sendable, Hashable {
    /// It has more than 256 KiB.
    case tooLarge
    /// More than 64 arrays and objects are nested.
    case tooDeep
    /// It is not JSON in UTF-8; with an own `serializer`, an app can store anything.
    case notJSON
    /// There is no object in the member `cookie`, so Express does not take it for a session.
    case noCookie
    /// The key holds another type than a string.
    case otherType

    init(_ fault: JSONDocument.Fault) {
      self =
        switch fault {
        case .tooLarge: .tooLarge
        case .tooDeep: .tooDeep
        case .malformed: .notJSON
        }
    }
  }

  /// The member that sessions of ours have.
  static let markName = "paasbus"

  package let document: JSONDocument
  package let cookie: JSONValue

  /// - Throws: ``Fault``.
  public init(_ bytes: [UInt8]) throws(Fault) {
    do {
      document = try JSONDocument(bytes)
    } catch {
      throw Fault(error)
    }
    guard let cookie = document.member("cookie", of: document.root), cookie.kind == .object else {
      throw .noCookie
    }
    self.cookie = cookie
  }

  /// The content as it is stored.
  public var bytes: [UInt8] { document.bytes }

  /// How long the app keeps the session after its last request (`originalMaxAge`), in ms; nil for a cookie that
  /// ends with the browser.
  public var maxAge: Int64? {
    guard let value = document.member("originalMaxAge", of: cookie), value.kind == .number
    else { return nil }
    if let whole = document[value].wholeNumber { return whole }
    let number = Double(String(decoding: document[value], as: UTF8.self)) ?? .nan
    return Int64(exactly: number.rounded(.down))
  }

  /// The user who is logged in: the first of the paths that leads to a value other than null decides. An id is a
  /// string or an integer. Anything else there means that it is nobody.
  public func user(at paths: UserPaths) -> SessionUser? { document.user(at: paths) }

  /// The content with another maximal age, which the app keeps.
  ///
  /// - Parameters:
  ///   - maxAge: in ms.
  ///   - now: the time in ms since 1970.
  /// - Throws: ``Fault`` where it would be too large.
  func extended(to maxAge: Int64, now: Int64) throws(Fault) -> SessionContent {
    let longer = document.replacing("originalMaxAge", of: cookie, with: Array("\(maxAge)".utf8))
    let aged = try SessionContent(longer)
    let expires = Self.expires(now + maxAge)
    return try SessionContent(aged.document.replacing("expires", of: aged.cookie, with: expires))
  }

  /// The content of a new session.
  ///
  /// - Parameter members: the app's own, as they stand between the braces.
  static func new(
    members: some Collection<UInt8>, maxAge: Int64, now: Int64
  ) throws(Fault) -> SessionContent {
    let cookie =
      #"{"cookie":{"originalMaxAge":\#(maxAge),"expires":"#.utf8 + expires(now + maxAge)
      + #","httpOnly":true,"path":"/"}"#.utf8
    // An operator who finds it can tell it from a user's own.
    let mark = #","\#(markName)":{"opened":\#(now)}}"#.utf8
    return try SessionContent(
      Array(cookie) + (members.isEmpty ? [] : Array(",".utf8)) + Array(members) + Array(mark))
  }

  /// A time in ms as `Date.prototype.toISOString` writes it, in quotes.
  private static func expires(_ milliseconds: Int64) -> [UInt8] {
    // The fraction is written by hand, as that of a `Date` is not exact.
    let (seconds, rest) = milliseconds.quotientAndRemainder(dividingBy: 1000)
    let date = Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601).dropLast()
    return Array("\"\(date).\("\(1000 + rest)".dropFirst())Z\"".utf8)
  }
}

extension JSONDocument {
  /// - SeeAlso: ``SessionContent/user(at:)``.
  package func user(at paths: UserPaths) -> SessionUser? {
    for path in paths.paths {
      var value: JSONValue? = root
      for name in path { value = value.flatMap { member(name, of: $0) } }
      if let value, value.kind != .null { return SessionUser(value, in: self, path: path) }
    }
    return nil
  }
}
