// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "paasbus",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "paasbus", targets: ["paasbus"]),
    .library(name: "Presence", targets: ["Presence"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
  ],
  targets: [
    // The module map links libhiredis.a, so the binary needs no hiredis where it runs.
    .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
    .target(name: "CSupervisor"),
    .systemLibrary(name: "CTerminal"),
    .target(name: "Supervisor", dependencies: ["CSupervisor"]),
    .target(
      name: "Redis",
      dependencies: [
        "CHiredis",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
      ]
    ),
    .target(
      name: "Presence",
      dependencies: ["Redis"],
      resources: [.embedInCode("Scripts")]
    ),
    .target(name: "Platforms", dependencies: ["Redis"]),
    .executableTarget(
      name: "paasbus",
      dependencies: [
        "CSupervisor", "CTerminal", "Platforms", "Presence", "Redis", "Supervisor",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]
    ),
    .executableTarget(
      name: "paasbus-bench",
      dependencies: [
        "Presence", "Redis", "Supervisor", "TestSupport",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .target(name: "TestSupport", dependencies: ["Redis"], path: "Tests/TestSupport"),
    .executableTarget(
      name: "soak",
      dependencies: [
        "Presence", "Redis", "TestSupport",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Tests/Soak"),
    .testTarget(name: "RedisTests", dependencies: ["Redis", "TestSupport"]),
    .testTarget(name: "PresenceTests", dependencies: ["Presence", "Redis", "TestSupport"]),
    .testTarget(name: "SupervisorTests", dependencies: ["Supervisor", "TestSupport"]),
    .testTarget(name: "PlatformsTests", dependencies: ["Platforms", "Redis"]),
    .testTarget(
      name: "CommandTests", dependencies: ["paasbus", "Presence", "Redis", "TestSupport"],
      exclude: ["Screens"]),
  ]
)
