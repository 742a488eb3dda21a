import PaasbusRedis
import Testing

@testable import Presence

@Suite("What instances use")
struct UsageTests {
  private func usage(
    _ memory: Int64?, limit: Int64? = nil, cpu: Double? = nil, processes: Int64? = nil,
    oomKills: Int64? = nil
  ) -> InstanceUsage {
    var usage = InstanceUsage()
    (usage.memory, usage.limit, usage.cpu) = (memory, limit, cpu)
    (usage.processes, usage.oomKills) = (processes, oomKills)
    return usage
  }

  @Test("it is written as JSON and read again, and anything else is nothing")
  func json() {
    let all = usage(63_000_000, limit: 67_108_864, cpu: 1.25, processes: 3, oomKills: 1)
    let text = String(decoding: all.json, as: UTF8.self)
    #expect(
      text == #"{"memory":63000000,"limit":67108864,"cpu":1.25,"processes":3,"oomKills":1}"#)
    #expect(InstanceUsage(text) == all)
    for cpu in [0, 0.01, 0.1, 0.996, 1, 12.5] {
      let read = InstanceUsage(String(decoding: usage(1, cpu: cpu).json, as: UTF8.self))
      #expect(abs((read?.cpu ?? -1) - cpu) < 0.0051)
    }
    #expect(InstanceUsage("{}") == InstanceUsage())
    for text in ["", "{", "[]", #"{"memory"}"#, #"{"memory":1:2}"#, "5", #"x{"memory":1}"#] {
      #expect(InstanceUsage(text) == nil, "\(text)")
    }
    for value in ["-1", "1e3", "99999999999999999999", "null", #""5""#] {
      #expect(InstanceUsage(#"{"memory":\#(value),"more":1}"#)?.memory == nil)
    }
    for value in ["-1", "nan", "inf", "1e99"] {
      #expect(InstanceUsage(#"{"cpu":\#(value)}"#)?.cpu == nil)
    }
  }

  private func words(_ commands: [RedisCommand]) -> [String] {
    commands.map { String(decoding: $0.arguments[0], as: UTF8.self) }
  }

  @Test("it goes out where it has changed, and now and then")
  func report() {
    var report = UsageReport(keys: Keys(app: "shop"), id: "A")
    #expect(report.commands(nil).isEmpty)
    #expect(words(report.commands(usage(50 << 20))) == ["HSET", "EXPIRE"])
    report.receive([.integer(1), .integer(1)])
    #expect(report.commands(usage(50 << 20 + 4096)).isEmpty, "hardly more")
    #expect(words(report.commands(usage(60 << 20))) == ["HSET"])
    report.receive([.integer(0)])
    #expect(words(report.commands(usage(60 << 20, oomKills: 1))) == ["HSET"])
    report.receive([.integer(0)])
    let later = (0..<20).map { _ in report.commands(usage(60 << 20, oomKills: 1)).count }
    #expect(later == Array(repeating: 0, count: 19) + [1])
    #expect(report.last?.memory == 60 << 20)
    report.forget()
    #expect(words(report.commands(usage(60 << 20))) == ["HSET", "EXPIRE"], "Redis forgot it")
  }

  @Test("where it is refused it is left away, and tried again where that passes")
  func refused() {
    var report = UsageReport(keys: Keys(app: "shop"), id: "A")
    _ = report.commands(usage(1))
    report.receive([.error("OOM command not allowed when used memory > 'maxmemory'.")])
    #expect(words(report.commands(usage(1))) == ["HSET", "EXPIRE"])
    report.receive([.error("READONLY You can't write against a read only replica.")])
    #expect(words(report.commands(usage(1))) == ["HSET", "EXPIRE"])
    report.receive([.error("NOPERM this user has no permissions to run the 'hset' command")])
    #expect(report.commands(usage(2)).isEmpty && report.last?.memory == 2, "it is measured still")
    report.forget()
    #expect(words(report.commands(usage(2))) == ["HSET", "EXPIRE"], "on another connection")
  }
}
