import NIOHTTP1

/// What a path leads to.
enum Route: Hashable {
  case panel
  case instance(id: String)
  case bus, instances, history, events
  case instanceData(id: String)
  case metrics, health, readiness, login, logout
  /// A file of the panel.
  case style, script, icon

  private static let fixed: [String: Route] = [
    "/": .panel, "/api/v1/bus": .bus, "/api/v1/instances": .instances,
    "/api/v1/history": .history, "/api/v1/events": .events, "/metrics": .metrics,
    "/healthz": .health, "/readyz": .readiness, "/login": .login, "/logout": .logout,
    "/panel.css": .style, "/panel.js": .script, "/icon.svg": .icon,
  ]

  /// nil for a path that leads nowhere.
  init?(_ path: String) {
    if let known = Self.fixed[path] {
      self = known
    } else if let id = Self.id(in: path, behind: "/instances/") {
      self = .instance(id: id)
    } else if let id = Self.id(in: path, behind: "/api/v1/instances/") {
      self = .instanceData(id: id)
    } else {
      return nil
    }
  }

  private static func id(in path: String, behind prefix: String) -> String? {
    guard path.hasPrefix(prefix) else { return nil }
    // Ours have 26 characters, but others may write records too.
    let id = path.dropFirst(prefix.count)
    return (1...200).contains(id.utf8.count) ? String(id) : nil
  }

  static func isOfAPI(_ path: String) -> Bool { path == "/api" || path.hasPrefix("/api/") }

  var methods: [HTTPMethod] {
    switch self {
    case .login: [.GET, .HEAD, .POST]
    case .logout: [.POST]
    default: [.GET, .HEAD]
    }
  }

  /// Whether everybody may ask for it, by whatever host: what asks there knows no log-in and brings its own
  /// address as the host.
  var isForProbes: Bool { self == .health || self == .readiness }

  /// Whether it needs no log-in: the form needs its style.
  var isOpen: Bool { self == .style || self == .icon }

  /// Whether it is there without the panel.
  var isOfServer: Bool { isForProbes || self == .metrics }

  var mediaType: String? {
    switch self {
    case .panel, .instance, .login: "text/html"
    case .bus, .instances, .history, .instanceData: "application/json"
    case .events: "text/event-stream"
    default: nil
    }
  }
}
