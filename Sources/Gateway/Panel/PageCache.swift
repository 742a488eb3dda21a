import NIOCore
import Synchronization

/// Pages that were just made, for others who ask the same: an event has every open panel ask for its page.
final class PageCache: Sendable {
  struct Key: Hashable {
    var query: PanelQuery
    /// Of the hub's state.
    var version: Int
    var hasLogin: Bool
  }

  private static let maxPages = 32
  /// Ages on a page are told in seconds.
  private static let maxAge = Duration.milliseconds(500)

  private struct Entry {
    var page: ByteBuffer
    var made: ContinuousClock.Instant
  }

  private let entries = Mutex<[Key: Entry]>([:])

  func page(_ key: Key) -> ByteBuffer? {
    entries.withLock { entries in
      guard let entry = entries[key], ContinuousClock.now - entry.made < Self.maxAge else {
        return nil
      }
      return entry.page
    }
  }

  func add(_ page: ByteBuffer, for key: Key) {
    entries.withLock { entries in
      if entries.count >= Self.maxPages { entries.removeAll() }
      entries[key] = Entry(page: page, made: .now)
    }
  }
}
