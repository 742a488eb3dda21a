import Foundation
import TestSupport
import Testing

@testable import Supervisor

@Suite("What processes use")
struct UsageTests {
  /// A process with a child, each with so much memory of its own.
  private func family(megabytes: Int) async throws -> ManagedProcess {
    let script = """
      import os, time
      memory = bytearray(\(megabytes) * 1024 * 1024)
      if os.fork() == 0:
          memory = None
          memory = bytearray(\(megabytes) * 1024 * 1024)
          print('here', flush=True)
      time.sleep(1000)
      """
    let process = try ManagedProcess("python3", ["-c", script])
    try await eventually("it runs") { process.output.contains("here") }
    return process
  }

  @Test("a tree is measured by /proc: its own memory added up, what it shares once")
  func tree() async throws {
    let process = try await family(megabytes: 40)
    let tree = ProcessTree(of: process.processID, without: [])
    #expect(tree.ids.count == 2)
    #expect(tree.memory > 80 << 20 && tree.memory < 120 << 20, "\(tree.memory)")
    let child = try #require(tree.ids.first { $0 != process.processID })
    let without = ProcessTree(of: process.processID, without: [process.processID])
    #expect(without.ids == [child])
    kill(child, SIGKILL)
    // Its parent does not wait for it.
    try await eventually("it has ended") { ProcessStatus(child)?.isAlive == false }
    #expect(ProcessTree(of: process.processID, without: []).ids == [process.processID])
    #expect(ProcessTree(of: 999_999_99, without: []).ids.isEmpty)
  }

  @Test("a share of a processor is what was used between two samples")
  func processor() async throws {
    let process = try ManagedProcess("sh", ["-c", "while :; do :; done"])
    let sampler = UsageSampler(of: process.processID)
    let first = try #require(sampler.sample())
    #expect(first.processors == nil && first.processes == 1 && (first.memory ?? 0) > 0)
    let begun = ContinuousClock.now
    let ticks = { ProcessTree(of: process.processID, without: []).processorTime ?? 0 }
    let before = ticks()
    try await pass(.seconds(1))
    let second = try #require(sampler.sample())
    let expected = (ticks() - before) / ((ContinuousClock.now - begun) / .seconds(1))
    #expect(abs((second.processors ?? -1) - expected) < 0.1)
    process.signal(SIGKILL)
    try await eventually("it has ended") { sampler.sample() == nil }
  }

  @Test("what one spent that ended and was not waited for yet is neither lost nor counted twice")
  func zombies() async throws {
    let script = """
      import os, signal, time
      signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
      child = os.fork()
      if child == 0:
          while time.process_time() < 0.6: pass
          os._exit(0)
      os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
      print('ended', flush=True)
      signal.sigwait([signal.SIGUSR1])
      os.wait()
      print('waited', flush=True)
      time.sleep(1000)
      """
    let process = try ManagedProcess("python3", ["-c", script])
    func spent() -> Double { ProcessTree(of: process.processID, without: []).processorTime ?? -1 }
    try await eventually("the child has ended") { process.output.contains("ended") }
    let before = spent()
    #expect(before >= 0.55)
    process.signal(SIGUSR1)
    try await eventually("it was waited for") { process.output.contains("waited") }
    #expect(abs(spent() - before) < 0.2)
  }

  @Test("of more processes than are counted the same ones are, and their share is not guessed")
  func many() async throws {
    let script = "for i in $(seq 80); do sleep 1040 & ids=\"$ids $!\"; done; echo here; wait"
    let process = try ManagedProcess("sh", ["-c", "trap 'kill $ids; exit' TERM; \(script)"])
    try await eventually("they run") {
      process.output.contains("here")
        && ProcessTree(of: process.processID, without: []).isCut
    }
    let tree = ProcessTree(of: process.processID, without: [])
    #expect(tree.ids.count == ProcessTree.maxProcesses && tree.processorTime == nil)
    #expect(ProcessTree(of: process.processID, without: []).ids == tree.ids)
    process.signal(SIGTERM)
    _ = try await process.exitStatus()
  }

  /// Files as the kernel has them below a folder.
  private func withFiles(
    _ files: [String: String], _ body: (String) throws -> Void
  ) throws {
    let root = URL(filePath: "/tmp/paasbus-files-\(UUID().uuidString.prefix(8))")
    defer { try? FileManager.default.removeItem(at: root) }
    for (path, text) in files {
      let file = root.appending(path: path)
      try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: file)
    }
    try body(root.path)
  }

  @Test("version 2: used without what can be dropped, the lowest limit, time and kills")
  func versionTwo() throws {
    let group = "sys/fs/cgroup/a.slice/b.scope"
    try withFiles([
      "proc/7/cgroup": "0::/a.slice/b.scope\n",
      "\(group)/memory.current": "50000000\n", "\(group)/memory.max": "max\n",
      "\(group)/memory.stat": "anon 5\ninactive_file 20000000\nactive_file 3\n",
      "\(group)/cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
      "\(group)/memory.events": "low 0\noom 1\noom_kill 3\noom_group_kill 0\n",
      "\(group)/cgroup.procs": "7\n8\n", "sys/fs/cgroup/a.slice/memory.max": "64000000\n",
    ]) { root in
      let found = try #require(ControlGroup(of: 7, root: root))
      #expect(found.usedMemory == 30_000_000 && found.maxMemory == 64_000_000)
      #expect(found.processorTime == 2.5 && found.memoryKills == 3)
      #expect(found.processes == [7, 8] && found.countsProcessors(of: [7]))
    }
    // In a container its own group stands at the top, whatever its path is outside.
    try withFiles([
      "proc/7/cgroup": "0::/../../kubepods/pod1\n", "sys/fs/cgroup/memory.current": "1000\n",
      "sys/fs/cgroup/memory.max": "5000\n", "sys/fs/cgroup/cgroup.procs": "1\n7\n",
    ]) { root in
      let found = try #require(ControlGroup(of: 7, root: root))
      #expect(found.usedMemory == 1000 && found.maxMemory == 5000 && found.memoryKills == nil)
    }
  }

  @Test("version 1: each controller has a group of its own")
  func versionOne() throws {
    let memory = "sys/fs/cgroup/memory/docker/1"
    try withFiles([
      "proc/7/cgroup": "9:name=systemd:/x\n4:memory:/docker/1\n2:cpu,cpuacct:/docker/1\n0::/\n",
      "\(memory)/memory.usage_in_bytes": "50000000\n",
      "\(memory)/memory.stat":
        "inactive_file 1\nhierarchical_memory_limit 67108864\ntotal_inactive_file 20000000\n",
      "\(memory)/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
      "\(memory)/cgroup.procs": "7\n0\n",
      "sys/fs/cgroup/cpu,cpuacct/docker/1/cpuacct.usage": "1500000000\n",
    ]) { root in
      let found = try #require(ControlGroup(of: 7, root: root))
      #expect(found.usedMemory == 30_000_000 && found.maxMemory == 67_108_864)
      #expect(found.processorTime == 1.5 && found.memoryKills == 2)
      #expect(found.processes == [7, 0], "one of another container is in it")
      #expect(!found.countsProcessors(of: [7]), "nobody says whose they are")
    }
    try withFiles([
      "proc/7/cgroup": "4:memory:/docker/1\n",
      "sys/fs/cgroup/memory/memory.usage_in_bytes": "10\n",
      "sys/fs/cgroup/memory/memory.stat": "hierarchical_memory_limit 9223372036854771712\n",
    ]) { root in
      let found = try #require(ControlGroup(of: 7, root: root))
      #expect(found.usedMemory == 10 && found.maxMemory == nil && found.processorTime == nil)
    }
    try withFiles(["proc/7/cgroup": "0::/\n"]) { root in
      #expect(ControlGroup(of: 7, root: root) == nil)
    }
  }
}
