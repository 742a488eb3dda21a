/// The form of the channels on which workers publish: `JOB:{user}:{job}`.
struct RelayChannel: Sendable, Hashable {
  typealias Fault = RelayChannelFault

  static let usual = "JOB:{user}:{job}"

  private let prefix: [UInt8]
  private let separator: [UInt8]

  /// - Parameter clock: the channel of the gateways.
  /// - Throws: ``Fault``.
  init(_ form: String, clock: String) throws(Fault) {
    let users = form.ranges(of: "{user}")
    let jobs = form.ranges(of: "{job}")
    guard users.count == 1, jobs.count == 1, let user = users.first, let job = jobs.first,
      user.upperBound <= job.lowerBound, job.upperBound == form.endIndex
    else { throw .parts }
    prefix = Array(form[..<user.lowerBound].utf8)
    separator = Array(form[user.upperBound..<job.lowerBound].utf8)
    guard !separator.isEmpty else { throw .separator }
    // Its pattern is the prefix and whatever comes behind.
    guard !clock.utf8.starts(with: prefix) else { throw .clock }
  }

  /// The one pattern for all users, whatever characters the form has.
  var pattern: String {
    let escaped = prefix.flatMap { byte in
      #"\*?[]^"#.utf8.contains(byte) ? [UInt8(ascii: "\\"), byte] : [byte]
    }
    return String(decoding: escaped, as: UTF8.self) + "*"
  }

  /// The user and the job that a channel is for. The user's id ends at the first separator, so it has none in it.
  ///
  /// - Returns: nil for a channel of another form.
  func parts(of channel: some Collection<UInt8>) -> (user: [UInt8], job: [UInt8])? {
    let bytes = Array(channel)
    guard bytes.starts(with: prefix), let end = bytes[prefix.count...].firstRange(of: separator)
    else { return nil }
    let user = Array(bytes[prefix.count..<end.lowerBound])
    return user.isEmpty ? nil : (user, Array(bytes[end.upperBound...]))
  }

  /// Whether messages can be for this user.
  func canName(_ user: [UInt8]) -> Bool { !user.isEmpty && user.firstRange(of: separator) == nil }
}

/// Why a form of channels cannot be used.
package enum RelayChannelFault: Error, Sendable, Hashable {
  /// `{user}` and `{job}` must each be there once, in this order, and nothing behind `{job}`.
  case parts
  /// There must be a text between them, by which they can be told apart.
  case separator
  /// It would match the channel on which gateways talk to each other.
  case clock
}
