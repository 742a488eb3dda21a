// swift-tools-version: 6.1
import PackageDescription

// So that a binary can say what it was built from.
let commit = Context.gitInformation.map { git in
  git.currentCommit + (git.hasUncommittedChanges ? "+" : "")
}

let package = Package(
  name: "paasbus",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "paasbus", targets: ["paasbus"]),
    .library(name: "ExpressSessions", targets: ["ExpressSessions"]),
    .library(name: "Presence", targets: ["Presence", "Platforms"]),
    .library(name: "PresenceService", targets: ["PresenceService"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    // HMAC and digests for log-ins.
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    // The module map links libhiredis.a, so the binary needs no hiredis where it runs.
    .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
    .target(
      name: "CBuild",
      cSettings: commit.map { [.define("PAASBUS_COMMIT", to: "\"\($0)\"")] } ?? []),
    .target(name: "CStart"),
    .target(name: "CSupervisor"),
    .systemLibrary(name: "CTerminal"),
    .target(name: "Supervisor", dependencies: ["CSupervisor"]),
    .target(
      name: "PaasbusRedis",
      dependencies: [
        "CHiredis",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
      ]
    ),
    .target(
      name: "Presence",
      dependencies: ["PaasbusRedis"],
      resources: [.embedInCode("Scripts")]
    ),
    // For other people's servers.
    .target(
      name: "PresenceService",
      dependencies: [
        "Platforms", "Presence",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    .target(
      name: "Platforms",
      dependencies: [
        "PaasbusRedis", "Presence",
        .product(name: "NIOCore", package: "swift-nio"),
      ]),
    .target(name: "Terminal", dependencies: ["CTerminal"]),
    .target(
      name: "ExpressSessions",
      dependencies: ["PaasbusRedis", .product(name: "Crypto", package: "swift-crypto")],
      resources: [.embedInCode("Scripts")]),
    .target(
      name: "Views", dependencies: ["ExpressSessions", "PaasbusRedis", "Presence", "Terminal"]),
    .target(
      name: "Gateway",
      dependencies: [
        "ExpressSessions", "PaasbusRedis", "Presence", "Views",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOWebSocket", package: "swift-nio"),
      ],
      resources: [.embedInCode("Assets"), .embedInCode("Scripts")]),
    .executableTarget(
      name: "paasbus",
      dependencies: [
        "CBuild", "CStart", "CSupervisor", "ExpressSessions", "Gateway", "Platforms", "Presence",
        "PaasbusRedis", "Supervisor", "Terminal", "Views",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]
    ),
    .executableTarget(
      name: "paasbus-bench",
      dependencies: [
        "ExpressSessions", "Presence", "PaasbusRedis", "Supervisor", "TestSupport",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ]),
    .target(
      name: "TestSupport",
      dependencies: [
        "PaasbusRedis", "Presence", "Supervisor",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      path: "Tests/TestSupport"),
    .executableTarget(
      name: "soak",
      dependencies: [
        "ExpressSessions", "Presence", "PaasbusRedis", "TestSupport",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Tests/Soak"),
    .testTarget(
      name: "PaasbusRedisTests",
      dependencies: [
        "PaasbusRedis", "TestSupport", .product(name: "NIOPosix", package: "swift-nio"),
      ]),
    .testTarget(name: "PresenceTests", dependencies: ["Presence", "PaasbusRedis", "TestSupport"]),
    .testTarget(name: "TerminalTests", dependencies: ["Terminal"]),
    .testTarget(
      name: "ViewsTests", dependencies: ["PaasbusRedis", "Presence", "Terminal", "Views"]),
    .testTarget(name: "SupervisorTests", dependencies: ["Supervisor", "TestSupport"]),
    .testTarget(name: "PlatformsTests", dependencies: ["Platforms", "PaasbusRedis"]),
    .testTarget(
      name: "ExpressSessionsTests",
      dependencies: ["ExpressSessions", "PaasbusRedis", "TestSupport"]),
    .testTarget(
      name: "GatewayTests",
      dependencies: [
        "Gateway", "PaasbusRedis", "TestSupport", .product(name: "NIOCore", package: "swift-nio"),
      ]),
    .testTarget(
      name: "CommandTests",
      dependencies: [
        "paasbus", "ExpressSessions", "Platforms", "Presence", "PaasbusRedis", "Supervisor",
        "Terminal", "TestSupport",
      ],
      exclude: ["Screens", "Words"]),
  ]
)
