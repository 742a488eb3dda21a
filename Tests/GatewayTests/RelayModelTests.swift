import Foundation
import TestSupport
import Testing

@testable import Gateway

@Suite("The relay's order, against a model")
struct RelayModelTests {
  /// `PAASBUS_RUNS` says how many; CI's few find what breaks at once.
  private static let runs =
    ProcessInfo.processInfo.environment["PAASBUS_RUNS"].flatMap { UInt64($0) } ?? 60

  private func run(
    _ seed: UInt64, gateways: Int, bounds: RelayRing.Bounds = .init(), lendsSurely: Bool
  ) -> RelayWorld {
    var world = RelayWorld(
      seed: seed, gateways: gateways, bounds: bounds, lendsSurely: lendsSurely)
    for _ in 0..<800 where world.complaints.isEmpty { world.step() }
    if world.complaints.isEmpty { world.settle() }
    return world
  }

  @Test(
    "whatever happens, nothing is missing, doubled or out of order that is not told",
    arguments: [1, 2, 4])
  func chaos(gateways: Int) {
    var (delivered, gaps) = (0, 0)
    for seed in 0..<Self.runs {
      let world = run(seed, gateways: gateways, lendsSurely: false)
      #expect(world.complaints.isEmpty, "seed \(seed): \(world.complaints.first ?? "")")
      delivered += world.delivered
      gaps += world.gaps
    }
    #expect(delivered > 10_000 && gaps > 100)
  }

  @Test("no gap is told that another gateway could have filled")
  func filled() {
    for seed in 0..<Self.runs {
      let world = run(seed + 10_000, gateways: 3, lendsSurely: true)
      #expect(world.complaints.isEmpty, "seed \(seed): \(world.complaints.first ?? "")")
    }
  }

  @Test("what is too much to remember is told as a gap")
  func trimmed() {
    var gaps = 0
    for seed in 0..<Self.runs {
      let bounds = RelayRing.Bounds(maxAge: 400, maxSize: 8000, maxMessagesPerUser: 5)
      let world = run(seed + 20_000, gateways: 2, bounds: bounds, lendsSurely: false)
      #expect(world.complaints.isEmpty, "seed \(seed): \(world.complaints.first ?? "")")
      gaps += world.gaps
    }
    #expect(gaps > 100)
  }
}
