import Presence
import Views

/// One instance: all that is known of it, and its events.
struct InstancePage {
  /// How many of its events are shown.
  static let maxEvents = 100

  let instance: Instance
  /// nil where the bus no longer has it, and only its events are left.
  let status: InstanceStatus?
  let state: InstanceStatus.State?
  /// The newest first.
  let events: [Event]
  let now: Int64
  let hasLogin: Bool

  var html: HTML {
    let items = facts.map { name, value -> HTML in "<dt>\(name)</dt><dd>\(value)</dd>" }.joined()
    let list = events.map { event -> HTML in
      """
      <li id="e-\(event.position.entryID)" \
      class="\(event.type.rawValue)\(event.isFailure ? " failed" : "")">\
      \(PageTime(event.at).html) <b>\(String(event.type.symbol)) \(event.type.rawValue)</b> \
      \(event.cause ?? "")</li>

      """
    }.joined()
    let none: HTML = events.isEmpty ? "<p>The history holds no events of this instance.</p>" : ""
    let main: HTML = """
      <main id="instance" data-now="\(now)">
      <p><a href="../">All instances</a></p>
      <h1>\(instance.name)</h1>
      <dl>\(items)</dl>
      <h2>Events <small id="zone">times in UTC</small></h2>
      \(none)<ol>\(list)</ol>
      </main>
      """
    return PageFrame(
      title: "\(instance.name) – paasbus", root: "../", hasLogout: hasLogin, isLive: true
    ).html(main)
  }

  private var facts: [(String, HTML)] {
    let state: HTML =
      self.state.map { "<span class=\"\($0.rawValue)\">\(String($0.symbol)) \($0.rawValue)</span>" }
      ?? "gone from the bus"
    var facts: [(String, HTML)] = [("State", state)]
    if let started = instance.started {
      let age: HTML =
        status?.isPresent == true ? ", \(.age(started, now: now)) ago" : ""
      facts.append(("Started", "\(PageTime(started).html)\(age)"))
    }
    if status?.isPresent == true, let beat = status?.lastBeat {
      facts.append(("Last heartbeat", "\(.age(beat, now: now)) ago"))
    }
    if status?.isPresent != true, let end = events.first, end.type == .stop || end.type == .lost {
      let cause: HTML = end.cause.map { ": \($0)" } ?? ""
      facts.append(("Ended", "\(PageTime(end.at).html), \(.age(end.at, now: now)) ago\(cause)"))
    }
    if let usage = status?.usage {
      let usages: [(String, String?)] = [
        ("Memory", UsageText.memory(usage.memory, of: usage.limit)),
        ("CPU", usage.cpu.map(UsageText.processor)),
        ("Processes", usage.processes.map(String.init)),
        ("Killed for lack of memory", usage.oomKills.flatMap { $0 > 0 ? "\($0)" : nil }),
      ]
      facts += usages.compactMap { name, text in text.map { (name, "\($0)") } }
    }
    let texts: [(String, String?)] = [
      ("Release", instance.release), ("Commit", instance.commit), ("Process", instance.process),
      ("Platform", instance.platform), ("Region", instance.region), ("Host", instance.host),
      ("PID", instance.pid.map(String.init)), ("ID", instance.id), ("App", instance.app),
      ("Lease", Span(milliseconds: instance.lease).exact),
    ]
    facts += texts.compactMap { name, text in text.map { (name, "\($0)") } }
    for (name, value) in instance.meta.sorted(by: { $0.key < $1.key }) {
      facts.append((name, "\(value)"))
    }
    return facts
  }
}
