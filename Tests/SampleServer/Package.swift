// swift-tools-version: 6.1
import PackageDescription

// A server of somebody else's that announces itself, as the README shows it.
let package = Package(
  name: "SampleServer",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(name: "paasbus", path: "../.."),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    // What the README shows.
    .executableTarget(
      name: "Minimal",
      dependencies: [
        .product(name: "PresenceService", package: "paasbus"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
    .executableTarget(
      name: "SampleServer",
      dependencies: [
        .product(name: "Presence", package: "paasbus"),
        .product(name: "PresenceService", package: "paasbus"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]),
  ]
)
