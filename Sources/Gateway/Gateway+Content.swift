import NIOCore
import NIOHTTP1
import PaasbusRedis
import Presence
import Views

/// What the paths show.
extension Gateway {
  /// So many past events are looked at for the lives on a page, or for those of one instance.
  private static let maxSearched = 20_000

  func probe(_ route: Route, _ request: Request) -> Response {
    guard request.isForRead else { return Response(.methodNotAllowed).with("Allow", "GET, HEAD") }
    let isReady =
      route == .health || hub.state.connection.isConnected && relay?.isReady ?? true
    return Response(isReady ? .ok : .serviceUnavailable)
  }

  func file(_ route: Route) -> Response? {
    switch route {
    case .style: Response(type: "text/css; charset=utf-8", PackageResources.panel_css)
    case .script: Response(type: "text/javascript; charset=utf-8", PackageResources.panel_js)
    case .icon: Response(type: "image/svg+xml", PackageResources.icon_svg)
    default: nil
    }
  }

  func content(_ route: Route, _ request: Request) async -> Response {
    switch route {
    case .panel: return await panel(request)
    case .instance(let id): return await instancePage(id, request)
    case .bus: return bus(await freshState())
    case .instances: return instances(await freshState(), request)
    case .instanceData(let id): return instanceData(id, await freshState(), request)
    case .history: return await history(request)
    case .events: return events(request)
    case .metrics: return metrics(await freshState())
    case .script: return file(route) ?? problem(.notFound, request)
    case .health, .readiness, .login, .logout, .style, .icon: return problem(.notFound, request)
    }
  }

  // MARK: Pages

  private func panel(_ request: Request) async -> Response {
    let state = await freshState()
    let query = PanelQuery(request.query)
    let hasLogin = configuration.access.password != nil
    let key = PageCache.Key(query: query, version: state.version, hasLogin: hasLogin)
    var response = Response(type: Self.htmlType, EmptyCollection())
    if let page = pages.page(key) {
      response.body = .whole(page)
      return response
    }
    let now = state.now ?? 0
    let lives = await lives(state, since: now - query.range.length)
    let page = PanelPage(hub: state, query: query, now: now, lives: lives, hasLogin: hasLogin)
    let bytes = ByteBuffer(string: page.html.text)
    pages.add(bytes, for: key)
    response.body = .whole(bytes)
    return response
  }

  /// The lives of the time that a page shows; where Redis is away, of the last events.
  private func lives(_ state: HubState, since earliest: Int64) async -> Lives {
    var lives = Lives()
    var events: [Event] = []
    if let app = state.app, state.connection.isConnected {
      let found = try? await client.withConnection { connection in
        var found: [Event] = []
        var searched = 0
        try await History(keys: Keys(app: app)).readBackwards(on: connection) { page in
          searched += page.count
          let read = page.compactMap { Event.read($0.bytes) }
          found += read.filter { $0.at >= earliest }
          return (read.last?.at ?? 0) >= earliest && searched < Self.maxSearched
        }
        return found
      }
      events = found?.reversed() ?? []
    }
    if events.isEmpty { events = state.events.filter { $0.at >= earliest } }
    for event in events { lives.add(event) }
    for status in state.roster.statuses.values { lives.add(status) }
    return lives
  }

  private func instancePage(_ id: String, _ request: Request) async -> Response {
    let state = await freshState()
    let status = state.roster.statuses[id]
    guard let events = await pastEvents(of: id, state) else {
      return problem(
        .serviceUnavailable, request, "Redis cannot be asked for its events", "try again")
    }
    guard let instance = status?.instance ?? events.first?.instance else {
      return problem(
        .notFound, request, "no instance has this id, or the history no longer holds it",
        "see the list of instances")
    }
    let page = InstancePage(
      instance: instance, status: status, state: status.map(state.state), events: events,
      now: state.now ?? 0, hasLogin: configuration.access.password != nil)
    return self.page(page.html)
  }

  /// The newest first; nil where Redis cannot be asked and nothing is known.
  private func pastEvents(of id: String, _ state: HubState) async -> [Event]? {
    guard let app = state.app else { return [] }
    let found = try? await client.withConnection { connection in
      var found: [Event] = []
      var searched = 0
      try await History(keys: Keys(app: app)).readBackwards(on: connection) { page in
        searched += page.count
        found += page.compactMap { Event.read($0.bytes) }.filter { $0.instance.id == id }
        return found.count < InstancePage.maxEvents && searched < Self.maxSearched
      }
      return found
    }
    if let found { return Array(found.prefix(InstancePage.maxEvents)) }
    let known = state.events.filter { $0.instance.id == id }
    return known.isEmpty ? nil : known.reversed()
  }

  // MARK: JSON

  private static let jsonType = "application/json"

  private func bus(_ state: HubState) -> Response {
    var text = JSONText()
    text.member("app", state.app)
    text.member("channel", state.channel)
    text.member("epoch", state.position?.epoch)
    text.member("seq", state.position?.seq)
    text.always("connection", state.connection.word)
    text.member("lostSince", state.lostSince)
    text.member("now", state.now)
    text.member("lastEvent", state.lastEvent)
    for other in InstanceStatus.State.allCases {
      let count = state.roster.statuses.values.count { state.state($0) == other }
      text.member(other.memberName, Int64(count))
    }
    return Response(type: Self.jsonType, text.line)
  }

  private func instances(_ state: HubState, _ request: Request) -> Response {
    var wanted: InstanceStatus.State?
    if let word = request.query["state"] {
      guard let known = InstanceStatus.State(rawValue: word) else {
        return .problem(
          .badRequest, "there is no state '\(word)'", "use up, stopping, overdue, lost or stopped")
      }
      wanted = known
    }
    let filter = ListFilter(state: wanted, name: request.query["name"])
    var current = state.roster.statuses.values.map { status in
      var status = status
      status.state = state.state(status)
      return status
    }.filter(filter.passes)
    current.sort {
      ($0.instance.started ?? 0, $0.instance.name) < ($1.instance.started ?? 0, $1.instance.name)
    }
    return Response(
      type: Self.jsonType, JSONArray.of(current) { InstanceTable.addLine($0, to: &$1) })
  }

  private func instanceData(_ id: String, _ state: HubState, _ request: Request) -> Response {
    guard var status = state.roster.statuses[id] else {
      return problem(
        .notFound, request, "no instance has this id", "see /api/v1/instances")
    }
    status.state = state.state(status)
    var line: [UInt8] = []
    InstanceTable.addLine(status, to: &line)
    return Response(type: Self.jsonType, line)
  }

  private func history(_ request: Request) async -> Response {
    let filter: WatchFilter
    let since: Watcher.Since
    do {
      (filter, since) = try HistoryQuery.read(request.query)
    } catch {
      return .problem(.badRequest, error.text, error.remedy)
    }
    guard let app = hub.state.app else { return Response(type: Self.jsonType, "[]\n".utf8) }
    let keys = Keys(app: app)
    let begin: (end: Position?, now: Int64)
    do {
      // Before the first byte, as afterwards no status can say that Redis is away.
      begin = try await client.withConnection { connection in
        (
          try await BusState.read(keys: keys, on: connection).position,
          try await ServerClock.read(on: connection).now
        )
      }
    } catch {
      return problem(
        .serviceUnavailable, request, "Redis cannot be asked for the history",
        "try again in a moment")
    }
    return Response(type: Self.jsonType) { [client] stream in
      var array = JSONArray()
      if let end = begin.end {
        try await client.withConnection { connection in
          let reading = HistoryReading(
            keys: keys, end: end, earliest: since.earliest(now: begin.now), on: connection,
            filter: filter.passes)
          try await reading.read { page in
            for output in page { array.add { output.addLine(to: &$0) } }
            try await stream.write(array.takeBytes())
          }
        }
      }
      try await stream.write(array.end())
    }
  }

  private func events(_ request: Request) -> Response {
    let start: EventStreams.Start
    do {
      start = try HistoryQuery.start(request)
    } catch {
      return .problem(.badRequest, error.text, error.remedy)
    }
    let mayStay = doorkeeper?.lasting(request)
    return Response(type: "text/event-stream; charset=utf-8") { [streams] stream in
      try await streams.serve(stream, from: start, mayStay: mayStay)
    }.with("X-Accel-Buffering", "no")
  }

  // MARK: Metrics

  private func metrics(_ state: HubState) -> Response {
    let text = MetricsText(
      state, version: configuration.version, listeners: streams.count, delays: delays.counts,
      process: ProcessFigures.read(), relay: relay?.figures,
      namesInstances: configuration.namesInstances)
    return Response(type: "text/plain; version=0.0.4; charset=utf-8", text.text.utf8)
  }
}

extension InstanceStatus.State {
  /// As a member of JSON that counts.
  fileprivate var memberName: StaticString {
    switch self {
    case .up: "up"
    case .stopping: "stopping"
    case .overdue: "overdue"
    case .lost: "lost"
    case .stopped: "stopped"
    }
  }
}

extension HubState.Connection {
  fileprivate var word: String {
    switch self {
    case .connecting: "connecting"
    case .waiting: "waiting"
    case .connected: "connected"
    case .lost: "lost"
    }
  }
}
