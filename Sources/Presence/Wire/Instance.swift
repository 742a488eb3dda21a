/// One run of one process of an app, as it is announced. What is unknown is nil.
///
/// Its texts stay among the bytes that they were read from, and become strings when they are asked
/// for: whoever reads a million events looks at few of them.
public struct Instance: Sendable, Hashable {
  /// Where each text stands.
  struct Texts: Sendable {
    var app, id, name: TextRange
    var process = TextRange.absent
    var host = TextRange.absent
    var platform = TextRange.absent
    var release = TextRange.absent
    var commit = TextRange.absent
    var region = TextRange.absent
    /// An object of JSON.
    var meta = TextRange.absent
  }

  /// The message or record that it was read from, and what was set since.
  private var bytes: ArraySlice<UInt8>
  private var texts: Texts
  /// The id of its process.
  public var pid: Int?
  /// When it began, in ms since 1970 by the Redis server's clock; nil before the first contact.
  public var started: Int64?
  /// How long it counts as present without a heartbeat, in ms.
  public var lease: Int64
  /// Whether the tutorial's bare words are published with its events.
  public var isPlain: Bool

  /// An instance that has not begun yet.
  public init(app: String, id: String = InstanceID.make(), name: String, lease: Duration) {
    self.init(app: app, id: id, name: name, lease: lease.milliseconds)
  }

  private init(app: String, id: String, name: String, lease: Int64) {
    bytes = []
    texts = Texts(
      app: Self.add(app, to: &bytes), id: Self.add(id, to: &bytes),
      name: Self.add(name, to: &bytes))
    self.lease = lease
    isPlain = false
  }

  /// The app, in the characters of keys.
  public var app: String {
    get { texts.app.text(in: bytes) ?? "" }
    set { texts.app = Self.add(newValue, to: &bytes) }
  }

  /// A ULID, new for every run.
  public var id: String {
    get { texts.id.text(in: bytes) ?? "" }
    set { texts.id = Self.add(newValue, to: &bytes) }
  }

  /// What it is called, as `web.1`.
  public var name: String {
    get { texts.name.text(in: bytes) ?? "" }
    set { texts.name = Self.add(newValue, to: &bytes) }
  }

  /// The kind of process, as `web`.
  public var process: String? {
    get { texts.process.text(in: bytes) }
    set { texts.process = add(newValue) }
  }

  /// The name of its host.
  public var host: String? {
    get { texts.host.text(in: bytes) }
    set { texts.host = add(newValue) }
  }

  /// The platform, as `heroku`.
  public var platform: String? {
    get { texts.platform.text(in: bytes) }
    set { texts.platform = add(newValue) }
  }

  /// The release that it runs.
  public var release: String? {
    get { texts.release.text(in: bytes) }
    set { texts.release = add(newValue) }
  }

  /// The commit that it runs.
  public var commit: String? {
    get { texts.commit.text(in: bytes) }
    set { texts.commit = add(newValue) }
  }

  /// The region that it runs in.
  public var region: String? {
    get { texts.region.text(in: bytes) }
    set { texts.region = add(newValue) }
  }

  /// What else is told of it.
  public var meta: [String: String] {
    get {
      guard !texts.meta.isAbsent else { return [:] }
      return EventScanner.texts(bytes, in: texts.meta)
        ?? Self.decodeTexts(bytes[texts.meta.indices(in: bytes)])
    }
    set {
      texts.meta =
        newValue.isEmpty ? .absent : Self.add(JSONText.object(newValue), to: &bytes)
    }
  }

  /// Whether it is an instance of an app; makes no string for that.
  ///
  /// - Parameter app: its name in UTF-8.
  func belongs(to app: [UInt8]) -> Bool {
    let place = texts.app.indices(in: bytes)
    return place.count == app.count
      && app.indices.allSatisfy { app[$0] == bytes[place.lowerBound + $0] }
  }

  /// What it was read from, or a part of it; nil for none.
  func bytes(in range: TextRange) -> ArraySlice<UInt8>? {
    range.isAbsent ? nil : bytes[range.indices(in: bytes)]
  }

  /// The same in memory of its own, for whoever keeps it: what it was read from may be a small
  /// part of what came at once.
  public var detached: Instance {
    var copy = self
    copy.bytes = ArraySlice(Array(bytes))
    return copy
  }

  /// Adds all that it was read from.
  func addWire(to text: inout [UInt8]) { text += bytes }

  private mutating func add(_ text: String?) -> TextRange {
    text.map { Self.add($0, to: &bytes) } ?? .absent
  }

  private static func add(_ text: String, to bytes: inout ArraySlice<UInt8>) -> TextRange {
    add(Array(text.utf8), to: &bytes)
  }

  private static func add(_ text: [UInt8], to bytes: inout ArraySlice<UInt8>) -> TextRange {
    let start = bytes.count
    bytes += text
    return TextRange(from: start, to: bytes.count)
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
  /// What was read from bytes; nil where that can be no instance of ours.
  init?(
    reading bytes: ArraySlice<UInt8>, _ texts: Texts, pid: Int?, started: Int64, lease: Int64,
    isPlain: Bool
  ) {
    guard !texts.id.isEmpty, Self.isPossible(started: started, lease: lease) else {
      return nil
    }
    self.bytes = bytes
    self.texts = texts
    self.pid = pid
    self.started = started
    self.lease = lease
    self.isPlain = isPlain
  }

  /// What is outside of this can be no instance of ours, and would trip arithmetic later.
  static func isPossible(started: Int64, lease: Int64) -> Bool {
    Event.times.contains(started) && (1...86_400_000).contains(lease)
  }

  /// Whatever they were read from.
  public static func == (one: Instance, other: Instance) -> Bool {
    (one.app, one.id, one.name) == (other.app, other.id, other.name)
      && (one.process, one.host, one.pid) == (other.process, other.host, other.pid)
      && (one.platform, one.release, one.commit, one.region)
        == (other.platform, other.release, other.commit, other.region)
      && (one.started, one.lease, one.isPlain) == (other.started, other.lease, other.isPlain)
      && one.meta == other.meta
  }

  /// By what `==` compares.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(id)
    hasher.combine(started)
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
