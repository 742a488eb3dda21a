/// One run of one process of an app, as it is announced. What is unknown is nil.
public struct Instance: Sendable, Hashable {
  /// The app, in the characters of keys.
  public var app: String
  /// A ULID, new for every run.
  public var id: String
  /// Its name, such as `web.1`.
  public var name: String
  /// The kind of process, such as `web`.
  public var process: String?
  /// The name of its host.
  public var host: String?
  /// The id of its process.
  public var pid: Int?
  /// The platform, such as `heroku`.
  public var platform: String?
  /// The release that it runs.
  public var release: String?
  /// The commit that it runs.
  public var commit: String?
  /// The region that it runs in.
  public var region: String?
  /// When it began, in ms since 1970 by the Redis server's clock; nil before the first contact.
  public var started: Int64?
  /// How long it counts as present without a heartbeat, in ms.
  public var lease: Int64
  /// Further values that are announced with it.
  public var meta: [String: String] = [:]
  /// Whether the tutorial's bare words are published with its events.
  public var isPlain = false

  /// An instance that has not begun yet.
  public init(app: String, id: String = InstanceID.make(), name: String, lease: Duration) {
    self.init(app: app, id: id, name: name, lease: lease.milliseconds)
  }

  init(app: String, id: String, name: String, lease: Int64) {
    self.app = app
    self.id = id
    self.name = name
    self.lease = lease
  }

  /// A third of the lease: how often the instance says that it is there.
  public var beat: Duration { .milliseconds(lease / 3) }

  /// Whether an event about it stays below the limit, with room for what an event adds.
  public var fitsIntoEvent: Bool {
    var text = JSONText()
    addMembers(to: &text)
    return text.bytes.count + 512 <= Event.sizeLimit
  }

  /// The members of the record before and behind `started`, which the server fills in.
  var recordHalves: (before: [UInt8], behind: [UInt8]) {
    var (before, behind) = (JSONText(), JSONText())
    addMembersBeforeStarted(to: &before)
    addMembersBehindStarted(to: &behind)
    return (before.bytes, behind.bytes)
  }
}

extension Instance {
  /// Values outside of these ranges cannot come from an instance of ours, and would make arithmetic
  /// overflow later.
  static func isPossible(started: Int64, lease: Int64) -> Bool {
    Event.times.contains(started) && (1...86_400_000).contains(lease)
  }
}

extension Instance {
  /// The members of the whole record, as an event or a snapshot shows them.
  package func addMembers(to text: inout JSONText) {
    addMembersBeforeStarted(to: &text)
    text.member("started", started)
    addMembersBehindStarted(to: &text)
  }

  private func addMembersBeforeStarted(to text: inout JSONText) {
    text.member("app", app)
    text.member("id", id)
    text.member("name", name)
    text.member("process", process)
    text.member("host", host)
    text.member("pid", pid.map(Int64.init))
    text.member("platform", platform)
    text.member("release", release)
    text.member("commit", commit)
    text.member("region", region)
  }

  private func addMembersBehindStarted(to text: inout JSONText) {
    text.member("lease", lease)
    text.member("meta", meta)
    if isPlain { text.member("plain", true) }
  }
}

extension Duration {
  /// Whole milliseconds, saturating.
  package var milliseconds: Int64 {
    let (seconds, attoseconds) = components
    let whole = seconds.multipliedReportingOverflow(by: 1000)
    if whole.overflow { return seconds > 0 ? .max : .min }
    let sum = whole.partialValue.addingReportingOverflow(attoseconds / 1_000_000_000_000_000)
    return sum.overflow ? (seconds > 0 ? .max : .min) : sum.partialValue
  }
}
