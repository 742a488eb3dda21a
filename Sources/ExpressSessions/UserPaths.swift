/// Where in a session its user's id stands, in the order in which one looks for it.
public struct UserPaths: Sendable, Hashable {
  /// Those of apps that store the user themselves, and of Passport: `user.id`, `passport.user.id`, `passport.user`,
  /// `userId`.
  public static let usual = UserPaths(paths: [
    ["user", "id"], ["passport", "user", "id"], ["passport", "user"], ["userId"],
  ])

  /// The names of each path.
  package let paths: [[String]]

  private init(paths: [[String]]) { self.paths = paths }

  /// Reads paths as they are written on a command line: `user.id, userId`.
  ///
  /// - Returns: nil where one is empty or has an empty name, or `__proto__` is one, which an app does not find.
  public init?(_ text: String) {
    let paths = text.split(separator: ",", omittingEmptySubsequences: false).map { path in
      path.split(separator: ".", omittingEmptySubsequences: false).map(\.trimmingBlanks)
    }
    guard !paths.joined().contains(where: { $0.isEmpty || $0 == "__proto__" }) else { return nil }
    self.init(paths: paths)
  }
}

extension UserPaths {
  /// Why a text does not make a session.
  public enum Fault: Error, Sendable, Hashable {
    /// It has a member that only the maker of a session writes: `cookie`, or `paasbus`.
    case reserved(String)
    case content(SessionContent.Fault)
  }

  /// The members of a session with which a user is logged in.
  ///
  /// - Parameter user: JSON: those members themselves (`{"user":{"id":42}}`), or what stands at one of the paths
  ///   or on the way there (`42`, `{"id":42}`), which is then put there.
  /// - Returns: nil where no path leads to a user.
  /// - Throws: ``Fault``.
  public func members(
    for user: [UInt8]
  ) throws(Fault) -> (json: [UInt8], user: SessionUser)? {
    let given: JSONDocument
    do {
      given = try JSONDocument(user)
    } catch {
      throw .content(SessionContent.Fault(error))
    }
    try Self.checkReserved(given)
    let value = Array(given[given.root])
    for (path, level) in places(for: given.root.kind) {
      let json = path.prefix(level).reversed().reduce(value) { inner, name in
        Array("{\(JSONDocument.quoted(name)):".utf8) + inner + Array("}".utf8)
      }
      guard let document = try? JSONDocument(json), let found = document.user(at: self),
        found.path == path.joined(separator: ".")
      else { continue }
      try Self.checkReserved(document)
      return (json, found)
    }
    return nil
  }
}

extension UserPaths {
  private static func checkReserved(_ document: JSONDocument) throws(Fault) {
    for name in ["cookie", SessionContent.markName]
    where document.member(name, of: document.root) != nil {
      throw .reserved(name)
    }
  }

  /// Where a value may be meant to stand: a path, and how many of its names lead to the value.
  private func places(for kind: JSONValue.Kind) -> [(path: [String], level: Int)] {
    guard kind == .object else { return paths.map { ($0, $0.count) } }
    // The object as it is first, then one name deeper after the other.
    return (0..<(paths.map(\.count).max() ?? 0)).flatMap { level in
      paths.filter { level < $0.count }.map { ($0, level) }
    }
  }
}

/// The user who is logged in with a session.
public struct SessionUser: Sendable, Hashable {
  /// The id in UTF-8, which is compared byte for byte.
  public let id: [UInt8]
  /// Where it stands in the session: `user.id`.
  public let path: String

  /// The id as text.
  public var text: String { String(decoding: id, as: UTF8.self) }

  private static let maxSize = 256
  /// Beyond it, JavaScript's numbers skip some integers.
  private static let maxInteger: Int64 = 1 << 53

  init?(_ value: JSONValue, in document: JSONDocument, path: [String]) {
    self.path = path.joined(separator: ".")
    switch value.kind {
    case .number where Self.isInteger(document[value]): id = Array(document[value])
    case .string:
      guard let text = document.text(of: value), (1...Self.maxSize).contains(text.utf8.count),
        !text.unicodeScalars.contains(where: Self.isControl)
      else { return nil }
      id = Array(text.utf8)
    case .object, .array, .number, .bool, .null: return nil
    }
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
  }

  private static func isInteger(_ text: ArraySlice<UInt8>) -> Bool {
    guard let number = Int64(String(decoding: text, as: UTF8.self)) else { return false }
    return (-maxInteger...maxInteger).contains(number) && text.elementsEqual("\(number)".utf8)
  }
}
