@testable import Presence

/// The rule of who is declared lost, word for word and without any state but what has been seen: all
/// of it is reckoned anew at each look.
struct LeaseOracle {
  private struct Record {
    var look: ObservedTime.Look
    var ends: [String: Int64]
  }

  let leases: [String: Int64]
  let isReconnected: Bool
  private var records: [Record] = []

  init(leases: [String: Int64], isReconnected: Bool) {
    (self.leases, self.isReconnected) = (leases, isReconnected)
  }

  mutating func look(_ look: ObservedTime.Look, _ ends: [String: Int64]) -> Set<String> {
    records.append(Record(look: look, ends: ends))
    let last = records.count - 1
    return Set(ends.keys.filter { isLost($0, last) })
  }

  private func isQuick(_ look: ObservedTime.Look) -> Bool {
    look.answered - look.asked <= .seconds(1)
  }

  private func isProved(_ index: Int) -> Bool {
    let (one, next) = (records[index - 1].look, records[index].look)
    let answers = (one.answered - one.asked) + (next.answered - next.asked)
    return isQuick(one) && isQuick(next) && one.slowAnswers == next.slowAnswers
      && next.asked - one.answered <= .milliseconds(1500) && next.time >= one.time
      && .milliseconds(next.time - one.time) <= .milliseconds(1500) + answers
  }

  /// The first look of the stretch that a look belongs to; nil where that one was slow.
  private func first(_ index: Int) -> Int? {
    guard isQuick(records[index].look) else { return nil }
    var first = index
    while first > 0, isProved(first) { first -= 1 }
    return first
  }

  private func followsBreak(_ first: Int) -> Bool {
    isReconnected || first > 0
      || records[first].ends.values.contains { $0 < records[first].look.time }
  }

  /// Since when the end that a look found was seen.
  private func since(_ id: String, _ index: Int, _ first: Int) -> ContinuousClock.Instant {
    var since = index
    while since > first, records[since - 1].ends[id] == records[index].ends[id] { since -= 1 }
    return records[since].look.answered
  }

  /// When a lease that was over at the break was last renewed.
  private func lastReturn(_ index: Int, _ first: Int) -> ContinuousClock.Instant? {
    let start = records[first].look
    let returns = ((first + 1)..<max(first + 1, index + 1)).filter { later in
      records[later].look.answered - start.answered <= .seconds(60)
        && records[later - 1].ends.contains { id, end in
          end < start.time && records[later].ends[id].map { $0 != end } ?? false
        }
    }
    return returns.last.map { records[$0].look.answered }
  }

  private func isDue(_ id: String, _ index: Int) -> Bool {
    guard let first = first(index), let end = records[index].ends[id], let lease = leases[id] else {
      return false
    }
    let look = records[index].look
    let beat = Duration.milliseconds(lease) / 3
    var since = since(id, index, first)
    guard end < look.time else {
      return look.asked - since >= .milliseconds(lease) + beat * 1.1
    }
    let stood = since == records[first].look.answered || end < records[first].look.time + lease
    guard followsBreak(first), stood else {
      return look.asked - since >= max(.milliseconds(1500), beat * 1.1 + .milliseconds(500))
    }
    if let lastReturn = lastReturn(index, first) { since = max(since, lastReturn) }
    return look.asked - since >= max(.seconds(5), beat * 1.1 + .seconds(1))
  }

  private func isLost(_ id: String, _ index: Int) -> Bool {
    guard let first = first(index), isDue(id, index) else { return false }
    // The first of the looks in a row that found it due, of the same end.
    var due = index
    while due > first, records[due - 1].ends[id] == records[index].ends[id], isDue(id, due - 1) {
      due -= 1
    }
    return due < index
      && records[index].look.asked - records[due].look.answered >= .milliseconds(250)
  }
}
