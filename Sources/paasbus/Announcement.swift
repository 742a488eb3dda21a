import PaasbusRedis
import Presence
import Supervisor
import Views

/// Announces an instance, alone or for another process; problems are reported on stderr.
struct Announcement: Sendable {
  let setup: Setup
  var instance: Instance
  var options: Announcer.Options
  var began = ContinuousClock.now

  /// The thread on which everything here runs. A beat that changed threads would wake several of
  /// them, and Swift's pool of threads comes with a further thread that wakes every second.
  static func thread() -> any TaskExecutor { ConnectionThread.shared.executor }

  /// An announcer that reports to the user what happens to it.
  ///
  /// - Parameter onStart: is told the channel and when the instance began, once it is announced.
  /// - Throws: ``Failure``, `RedisLocatorError` where no Redis is configured.
  func announcer(
    onStart: @escaping @Sendable (_ channel: String, _ started: Int64) -> Void = { _, _ in }
  ) async throws -> Announcer {
    let connector = try await setup.connector()
    return Announcer(instance, connector: connector, options: options, began: began) { notice in
      if case .announced(let channel, let started) = notice { onStart(channel, started) }
      report(notice, connector.endpoint)
    }
  }

  private func report(_ notice: Announcer.Notice, _ endpoint: RedisEndpoint) {
    switch notice {
    case .announced(let channel, _):
      setup.diagnostics.note(
        .announced(instance, channel: channel, url: endpoint.redactedURL))
    case .connectionLost(let error): setup.diagnostics.note(.connectionLost(error))
    case .connectionBack: setup.diagnostics.note(.connectionBack)
    }
  }

  // MARK: Alone

  /// Announces the instance until a signal asks for its end.
  func announce() -> Never {
    Program.untilSignalled(on: Self.thread) { signals in
      let announcer = try await announcer()
      Task(executorPreference: Self.thread()) {
        for await name in signals { announcer.stop(reason: name) }
      }
      try check(try await announcer.run())
    }
  }

  // MARK: For a process that runs already

  /// Announces the instance until the process ends; a signal only means that it is draining.
  func follow(_ process: FollowedProcess) -> Never {
    Program.untilSignalled(on: Self.thread) { signals in
      let announcer = try await announcer()
      Task(executorPreference: Self.thread()) {
        // The signal that asked for the end is the reason; without one, the process ended by
        // itself.
        var reason: String?
        await withTaskGroup(of: String?.self) { group in
          group.addTask {
            await process.waitForEnd()
            return nil
          }
          group.addTask {
            for await name in signals { return name }
            return nil
          }
          if let name = await group.next() ?? nil {
            reason = name
            announcer.drain(reason: name)
            await group.waitForAll()
          }
          group.cancelAll()
        }
        announcer.stop(reason: reason ?? "pid-gone")
      }
      try check(try await announcer.run())
    }
  }

  /// - Throws: ``Failure`` when the stop could not be delivered.
  private func check(_ ending: Announcer.Ending) throws {
    guard case .undelivered(let error) = ending else { return }
    throw Failure(
      .unreachable, "the stop could not be delivered (\(Announcer.problem(error)))",
      remedy:
        "watchers report the instance lost within \(Span(milliseconds: instance.lease))"
    )
  }
}

extension FollowedProcess {
  /// The process that was named on the command line.
  ///
  /// - Throws: ``Failure`` where there is no such process or it belongs to another user.
  static func found(_ id: Int32, _ diagnostics: Diagnostics) throws -> FollowedProcess {
    if id == 1 {
      diagnostics.note(.followsProcessOne)
    }
    do {
      return try FollowedProcess(id)
    } catch .notThere {
      throw Failure(
        .usage, "there is no process \(id)", remedy: "give one that is running, such as --pid $$")
    } catch .notOurs {
      throw Failure(
        .usage, "the process \(id) belongs to another user", remedy: "announce it as that user")
    }
  }
}
