import Presence

/// What a hub knows, in the text format of Prometheus (version 0.0.4).
///
/// Only what has few values is a label: never an id, a host or a commit, unless that is asked for. Values come from
/// the roster, so a release goes an hour after its last instance.
struct MetricsText {
  /// More releases than these, the oldest ones, are counted together.
  static let maxReleases = 20
  /// The same for kinds of processes.
  static let maxProcesses = 20
  private static let other = "other"

  private(set) var text = ""

  init(
    _ hub: HubState, version: String, listeners: Int, delays: DelayHistogram.Counts,
    process: ProcessFigures?, relay: RelayFigures? = nil, namesInstances: Bool = false
  ) {
    family("paasbus_build_info", "gauge", "The version of paasbus.")
    sample("paasbus_build_info", [("version", version)], 1)
    family("paasbus_up", "gauge", "Whether the watch is connected to Redis.")
    sample("paasbus_up", [], hub.connection.isConnected ? 1 : 0)
    let app = hub.app ?? ""
    addInstances(hub, app)
    if namesInstances { addMemory(hub, app) }
    addEvents(hub, app)
    family("paasbus_listeners", "gauge", "Open streams of this process.")
    sample("paasbus_listeners", [("kind", "sse")], Double(listeners))
    sample("paasbus_listeners", [("kind", "websocket")], Double(relay?.sockets ?? 0))
    addDelays(delays)
    if let process { add(process) }
    if let relay { add(relay) }
  }

  // MARK: The relay

  private mutating func add(_ relay: RelayFigures) {
    func plain(_ name: String, _ type: String, _ help: String, _ value: Double) {
      family("paasbus_relay_\(name)", type, help)
      sample("paasbus_relay_\(name)", [], value)
    }
    func labelled(
      _ name: String, _ help: String, _ label: String, _ values: [(String, Int64)]
    ) {
      family("paasbus_relay_\(name)", "counter", help)
      for (value, count) in values {
        sample("paasbus_relay_\(name)", [(label, value)], Double(count))
      }
    }
    plain("sockets", "gauge", "Browsers that are connected.", Double(relay.sockets))
    plain("users", "gauge", "Users who are connected.", Double(relay.users))
    plain("messages_total", "counter", "Messages heard from workers.", Double(relay.messages))
    plain("delivered_total", "counter", "Messages written to browsers.", Double(relay.delivered))
    labelled(
      "resumes_total", "Browsers that asked for what they missed.", "recovered",
      [true, false].map { ("\($0)", relay.resumes[$0] ?? 0) })
    plain("queue_bytes", "gauge", "Bytes that wait for browsers.", Double(relay.queueSize))
    plain("ring_bytes", "gauge", "Bytes of remembered messages.", Double(relay.ringSize))
    plain(
      "fills_total", "counter", "How often another gateway sent what was missed.",
      Double(relay.fills))
    labelled(
      "gaps_total", "Gaps that were told.", "why",
      RelayAttachment.Gap.allCases.map { ($0.rawValue, relay.gaps[$0] ?? 0) })
    labelled(
      "closes_total", "Sockets that the relay closed.", "code",
      relay.closes.sorted { $0.key < $1.key }.map { ("\($0.key)", $0.value) })
    labelled(
      "auth_failures_total", "Requests without a valid session.", "why",
      ["no-cookie", "signature", "no-user"].map { ($0, relay.failures[$0] ?? 0) })
  }

  // MARK: The bus

  private mutating func addInstances(_ hub: HubState, _ app: String) {
    family("paasbus_instances", "gauge", "Instances by state, as of the last hour.")
    guard hub.app != nil else { return }
    let statuses = hub.roster.statuses.values
    let releases = Self.kept(statuses, Self.maxReleases) { $0.instance.release ?? "" }
    let processes = Self.kept(statuses, Self.maxProcesses) { $0.instance.process ?? "" }
    struct Kind: Hashable { var process, release: String }
    var counts: [Kind: [InstanceStatus.State: Int]] = [:]
    for status in statuses {
      let (process, release) = (status.instance.process ?? "", status.instance.release ?? "")
      let kind = Kind(
        process: processes.contains(process) ? process : Self.other,
        release: releases.contains(release) ? release : Self.other)
      counts[kind, default: [:]][hub.state(status), default: 0] += 1
    }
    for (kind, states) in counts.sorted(by: {
      ($0.key.process, $0.key.release) < ($1.key.process, $1.key.release)
    }) {
      for state in InstanceStatus.State.allCases {
        sample(
          "paasbus_instances",
          [
            ("app", app), ("process", kind.process), ("release", kind.release),
            ("state", state.rawValue),
          ], Double(states[state] ?? 0))
      }
    }
  }

  private mutating func addMemory(_ hub: HubState, _ app: String) {
    let name = "paasbus_instance_memory_bytes"
    family(name, "gauge", "Memory that an instance used at its last heartbeat.")
    for status in hub.roster.statuses.values.sorted(by: { $0.instance.id < $1.instance.id }) {
      guard status.isPresent, let used = status.usage?.memory else { continue }
      let labels = [("app", app), ("name", status.instance.name), ("id", status.instance.id)]
      sample(name, labels, Double(used))
    }
  }

  /// The values that the latest instances have.
  private static func kept(
    _ statuses: some Collection<InstanceStatus>, _ count: Int,
    _ value: (InstanceStatus) -> String
  ) -> Set<String> {
    var latest: [String: Int64] = [:]
    for status in statuses {
      latest[value(status)] = max(latest[value(status)] ?? 0, status.instance.started ?? 0)
    }
    guard latest.count > count else { return Set(latest.keys) }
    let order = latest.sorted { ($0.value, $0.key) > ($1.value, $1.key) }
    return Set(order.prefix(count).map(\.key))
  }

  private mutating func addEvents(_ hub: HubState, _ app: String) {
    family("paasbus_events_total", "counter", "Events since this process began to watch.")
    for type in EventType.allCases where hub.app != nil {
      sample(
        "paasbus_events_total", [("app", app), ("type", type.rawValue)],
        Double(hub.counts.events[type] ?? 0))
    }
    family("paasbus_gaps_total", "counter", "Gaps in the history.")
    sample("paasbus_gaps_total", [], Double(hub.counts.gaps))
    family("paasbus_reconnects_total", "counter", "How often the connection came back.")
    sample("paasbus_reconnects_total", [], Double(hub.counts.reconnects))
    if let last = hub.lastEvent {
      family("paasbus_last_event_timestamp_seconds", "gauge", "When the last event happened.")
      sample("paasbus_last_event_timestamp_seconds", [], Double(last) / 1000)
    }
    if let oldest = hub.instances.compactMap(\.lastBeat).min() {
      family(
        "paasbus_oldest_beat_timestamp_seconds", "gauge",
        "The oldest of the instances' last heartbeats.")
      sample("paasbus_oldest_beat_timestamp_seconds", [], Double(oldest) / 1000)
    }
  }

  private mutating func addDelays(_ delays: DelayHistogram.Counts) {
    let name = "paasbus_event_delay_seconds"
    family(name, "histogram", "Time from an event until it was told.")
    for (bound, count) in zip(DelayHistogram.bounds, delays.buckets) {
      sample("\(name)_bucket", [("le", "\(bound)")], Double(count))
    }
    sample("\(name)_bucket", [("le", "+Inf")], Double(delays.count))
    sample("\(name)_sum", [], delays.sum)
    sample("\(name)_count", [], Double(delays.count))
  }

  private mutating func add(_ process: ProcessFigures) {
    family("process_cpu_seconds_total", "counter", "Processor time of this process.")
    sample("process_cpu_seconds_total", [], process.processorSeconds)
    family("process_resident_memory_bytes", "gauge", "Memory of this process.")
    sample("process_resident_memory_bytes", [], Double(process.residentBytes))
    family("process_open_fds", "gauge", "Open descriptors of this process.")
    sample("process_open_fds", [], Double(process.openDescriptors))
    family("process_max_fds", "gauge", "How many descriptors this process may open.")
    sample("process_max_fds", [], Double(process.maxDescriptors))
    family("process_start_time_seconds", "gauge", "When this process began.")
    sample("process_start_time_seconds", [], process.startSeconds)
  }

  // MARK: Format

  private mutating func family(_ name: String, _ type: String, _ help: String) {
    text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
  }

  private mutating func sample(_ name: String, _ labels: [(String, String)], _ value: Double) {
    text += name
    if !labels.isEmpty {
      text += "{" + labels.map { "\($0)=\"\(Self.escaped($1))\"" }.joined(separator: ",") + "}"
    }
    let isWhole = value == value.rounded() && abs(value) < 1e15
    text += isWhole ? " \(Int64(value))\n" : " \(value)\n"
  }

  private static func escaped(_ value: String) -> String {
    value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
  }
}

extension HubState.Connection {
  var isConnected: Bool {
    switch self {
    case .connected, .waiting: true
    case .connecting, .lost: false
    }
  }
}
