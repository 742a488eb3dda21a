import Presence
import Views

/// The panel: the fleet at one moment. All of it works without JavaScript; with it, the page fetches itself anew
/// when something has happened and changes what differs.
struct PanelPage {
  /// So many instances are shown, those that need attention first.
  static let maxRows = 500
  private static let maxEvents = 100

  let hub: HubState
  let query: PanelQuery
  /// The server's time, in ms.
  let now: Int64
  let lives: Lives
  let hasLogin: Bool
  /// id → the last event, of those that are known.
  private let lastEvents: [String: Event]
  /// Whether any instance tells what it uses.
  private let showsUsage: Bool

  init(hub: HubState, query: PanelQuery, now: Int64, lives: Lives, hasLogin: Bool) {
    (self.hub, self.query, self.now) = (hub, query, now)
    (self.lives, self.hasLogin) = (lives, hasLogin)
    showsUsage = hub.roster.statuses.values.contains { $0.usage != nil }
    lastEvents = Dictionary(hub.events.map { ($0.instance.id, $0) }) { $1 }
  }

  private var statuses: [InstanceStatus] { Array(hub.roster.statuses.values) }

  var html: HTML {
    let app = hub.app ?? ""
    let position = hub.position?.entryID ?? ""
    let main: HTML = """
      <main id="panel" data-now="\(now)" data-after="\(position)">
      \(header)
      \(releases)
      \(goal)
      \(instances)
      \(LivesDrawing(lives: lives, range: query.range, now: now, query: query).html)
      \(events)
      </main>
      <dialog id="details" aria-label="Instance"></dialog>
      <p id="news" role="status" class="hidden-text"></p>
      """
    let frame = PageFrame(
      title: app.isEmpty ? "paasbus" : "\(app) – paasbus", hasLogout: hasLogin, isLive: true)
    return frame.html(main)
  }

  // MARK: Above the table

  private var header: HTML {
    var counts: [InstanceStatus.State: Int] = [:]
    for status in hub.roster.statuses.values { counts[hub.state(status), default: 0] += 1 }
    let texts = InstanceStatus.State.allCases.compactMap { state -> HTML? in
      guard let count = counts[state], count > 0 else { return nil }
      return "<span class=\"\(state.rawValue)\">\(count) \(state.rawValue)</span>"
    }
    let summary: HTML =
      texts.isEmpty
      ? "no instances"
      : texts.dropFirst().reduce(into: texts[0]) { $0 += " · \($1)" }
    return """
      <header id="summary">
      <h1>\(hub.app ?? "paasbus")</h1>
      <p class="counts">\(summary)</p>
      <p id="connection" class="\(hub.connection.pageClass)">\(connection)</p>
      </header>
      """
  }

  private var connection: HTML {
    switch hub.connection {
    case .connecting: return "○ connecting to Redis"
    case .waiting: return "○ no instance has announced itself yet; waiting for the first"
    case .connected:
      guard let last = hub.lastEvent else {
        guard hub.position != nil else {
          return
            "<span class=\"live\">● live</span>, no instance has announced itself on this bus yet"
        }
        return "<span class=\"live\">● live</span>, no events yet"
      }
      return "<span class=\"live\">● live</span>, last event \(.age(last, now: now)) ago"
    case .lost:
      let since: HTML = hub.lostSince.map { " for \(.age($0, now: now))" } ?? ""
      return "✕ no connection to Redis\(since); what is shown may be out of date"
    }
  }

  private struct Release {
    var name: String
    var up = 0
    var present = 0
    var first = Int64.max
  }

  private var releases: HTML {
    var releases: [String: Release] = [:]
    var present = 0
    for status in hub.roster.statuses.values {
      let name = status.instance.release ?? ""
      var release = releases[name] ?? Release(name: name)
      // Also of those that have ended, so that the beginning of a release stays where it was.
      release.first = min(release.first, status.instance.started ?? .max)
      if status.isPresent {
        present += 1
        release.present += 1
        if hub.state(status) == .up { release.up += 1 }
      }
      releases[name] = release
    }
    let known = releases.values.filter { !$0.name.isEmpty && $0.present > 0 }
      .sorted { ($0.first, $0.name) < ($1.first, $1.name) }
    guard !known.isEmpty else { return "<section id=\"releases\" hidden></section>" }
    let items = known.suffix(MetricsText.maxReleases).map { release -> HTML in
      let started: HTML = release.first < .max ? ", since \(PageTime(release.first).html)" : ""
      return """
        <li><b>\(release.name)</b> <meter min="0" max="\(present)" \
        value="\(release.up)" aria-label="\(release.name)"></meter> \
        \(release.up) of \(present) up\(started)</li>
        """
    }
    return "<section id=\"releases\" aria-label=\"Releases\"><ul>\(items.joined())</ul></section>"
  }

  private var goal: HTML {
    var text: HTML = ""
    if let count = query.goal {
      let goal = WaitGoal(
        condition: .atLeast(count), release: query.release.isEmpty ? nil : query.release)
      let progress = goal.progress(hub.roster)
      let isMet = goal.isMet(by: progress)
      let since: HTML = isMet ? "" : query.goalSince.map { ", \(.age($0, now: now))" } ?? ""
      let end = query.with { ($0.goal, $0.release, $0.goalSince) = (nil, "", nil) }.link
      text = """
        <p class="\(isMet ? "met" : "unmet")">\(isMet ? "✓ reached" : "… waiting"): \
        \(goal.text(progress))\(since) <a href="\(end)">clear</a></p>
        """
    }
    let count = query.goal.map(String.init) ?? ""
    return """
      <section id="goal" aria-label="Goal">
      <form id="goal-form" method="get" action="./">
      \(query.hiddenFields(but: ["goal", "release", "from"]))\
      <input type="hidden" name="from" value="\(query.goalSince ?? now)">\
      <label>Goal <input name="goal" type="number" min="1" max="1000000" value="\(count)"></label>
      <label>up on release <input name="release" size="8" maxlength="100" \
      value="\(query.release)"></label>
      <button>Set</button>
      </form>
      <div id="goal-text">\(text)</div>
      </section>
      """
  }

  // MARK: The table

  private var instances: HTML {
    let search = InstanceSearch(query.filter)
    let found =
      query.filter.isEmpty
      ? statuses : statuses.filter { search.finds($0, state: hub.state($0)) }
    // What failed needs attention as much as what is lost.
    let order = query.order.indices(of: found, isReversed: query.isReversed) {
      hasFailed($0) ? .lost : hub.state($0)
    }
    let rows = order.prefix(Self.maxRows).map { row(found[$0]) }.joined()
    let note: HTML =
      found.count > Self.maxRows
      ? "Showing \(Self.maxRows) of \(found.count) instances; filter to see others."
      : found.isEmpty ? (query.filter.isEmpty ? "No instances." : "No instances match.") : ""
    let heads = InstanceOrder.allCases.filter { showsUsage || !$0.isUsage }.map(head).joined()
    return """
      <section id="fleet" aria-label="Instances">
      <form id="filter-form" method="get" action="./" role="search">
      \(query.hiddenFields(but: ["q"]))\
      <label>Filter <kbd>/</kbd> <input id="filter" name="q" type="search" maxlength="100" \
      value="\(query.filter)"></label>
      <button>Filter</button>
      <button id="pause" type="button" aria-pressed="false" hidden><span>Pause</span> <kbd>p</kbd></button>
      </form>
      <div class="wide"><table>
      <thead id="heads"><tr>\(heads)<th scope="col">Reason</th></tr></thead>
      <tbody id="rows">\(rows)</tbody>
      </table></div>
      <p id="note">\(note)</p>
      </section>
      """
  }

  private func head(_ order: InstanceOrder) -> HTML {
    let isCurrent = order == query.order
    let link = query.with {
      $0.isReversed = isCurrent && !$0.isReversed
      $0.order = order
    }.link
    let direction = query.isReversed ? "descending" : "ascending"
    let sort: HTML = isCurrent ? " aria-sort=\"\(direction)\"" : ""
    let arrow = isCurrent ? (query.isReversed ? "▼" : "▲") : ""
    return "<th scope=\"col\"\(sort)><a href=\"\(link)\">\(order.title)\(arrow)</a></th>"
  }

  private func row(_ status: InstanceStatus) -> HTML {
    let (instance, state) = (status.instance, hub.state(status))
    let up: HTML = status.isPresent ? .age(instance.started, now: now) : "–"
    let beat: HTML = status.isPresent ? .age(status.lastBeat, now: now) : "–"
    return """
      <tr id="i-\(instance.id)" class="\(state.rawValue)\(hasFailed(status) ? " failed" : "")">\
      <th scope="row"><a href="instances/\(instance.id.percentEncoded)">\(instance.name)</a></th>\
      <td class="state">\(String(state.symbol)) \(state.rawValue)</td>\
      <td>\(up)</td><td>\(beat)</td>\(usage(status))<td>\(instance.release ?? "–")</td>\
      <td>\(instance.place ?? "–")</td><td>\(ending(status))</td></tr>

      """
  }

  private func usage(_ status: InstanceStatus) -> HTML {
    guard showsUsage else { return "" }
    return "<td>\(status.memoryText ?? "–")</td><td>\(status.processorText ?? "–")</td>"
  }

  private func hasFailed(_ status: InstanceStatus) -> Bool {
    !status.isPresent && lastEvents[status.instance.id]?.isFailure == true
  }

  /// Why an instance ended, and how long ago.
  private func ending(_ status: InstanceStatus) -> HTML {
    let id = status.instance.id
    guard !status.isPresent, let end = hub.roster.ends[id] else { return "" }
    let reason: HTML = lastEvents[id]?.cause.map { "\($0), " } ?? ""
    return "\(reason)\(.age(end, now: now)) ago"
  }

  // MARK: Below the table

  private var events: HTML {
    let events = hub.events.suffix(Self.maxEvents).reversed().map(\.pageLine)
    let note: HTML = events.isEmpty ? "<p>No events yet.</p>" : ""
    return """
      <section id="events" aria-label="Events">
      <h2>Events <small id="zone">times in UTC</small></h2>
      \(note)<ol id="event-list">\(events.joined())</ol>
      </section>
      """
  }
}

extension InstanceOrder {
  fileprivate var title: String {
    self == .cpu ? "CPU" : rawValue.prefix(1).uppercased() + rawValue.dropFirst()
  }
}

extension HubState.Connection {
  fileprivate var pageClass: String {
    switch self {
    case .connected: "connected"
    case .connecting, .waiting: "waiting"
    case .lost: "lost"
    }
  }
}

extension Event {
  /// As an item of a list.
  var pageLine: HTML {
    """
    <li id="e-\(position.entryID)" class="\(type.rawValue)\(isFailure ? " failed" : "")">\
    \(PageTime(at).html) \
    <b>\(String(type.symbol)) \(type.rawValue)</b> \
    <a href="instances/\(instance.id.percentEncoded)">\(instance.name)</a> \
    \(instance.release ?? "") \(cause ?? "")</li>

    """
  }
}
