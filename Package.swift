// swift-tools-version: 6.2
// The rooms of Drover. Pure decisions live in DroverCore; each outside world has one adapter; the services know only
// the protocols of the core; the executable joins them. docs/architecture.md draws the picture.

import PackageDescription

/// CI sets `CI`, so a warning fails there; a user with a newer compiler is not stopped by one.
let warnings: [SwiftSetting] = Context.environment["CI"] == nil ? [] : [.treatAllWarnings(as: .error)]

let house: [SwiftSetting] =
  [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
  ] + warnings

/// A tenth less memory: relocations in their short form, and no table of names that nobody looks up.
let smaller: [LinkerSetting] = [
  .unsafeFlags(
    ["-use-ld=lld", "-Xlinker", "-z", "-Xlinker", "pack-relative-relocs", "-Xlinker", "--no-export-dynamic"],
    .when(platforms: [.linux], configuration: .release))
]

let grdb: [Target.Dependency] = [
  .product(name: "GRDB", package: "GRDB.swift"),
  .product(name: "GRDBSQLite", package: "GRDB.swift"),
]
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")

/// The files of the page that the consumer serves.
let page = [
  "index.html", "page.css", "main.js", "api.js", "text.js", "problems.js", "sparkline.js", "fleet.js", "machine.js",
  "letters.js", "conflicts.js", "worklists.js", "rows.js", "row.js",
]

let package = Package(
  name: "drover",
  products: [
    .executable(name: "drover", targets: ["drover"])
  ],
  dependencies: [
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.37.0"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-extras.git", from: "1.35.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    // The decisions: no clock, no disk, no network, no imports.
    .target(name: "DroverCore", swiftSettings: house),

    // The outside worlds, one adapter each.
    .systemLibrary(name: "CMosquitto", pkgConfig: "libmosquitto", providers: [.apt(["libmosquitto-dev"])]),
    .systemLibrary(name: "CJSONC", pkgConfig: "json-c", providers: [.apt(["libjson-c-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
    .systemLibrary(name: "CPostgreSQL", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CTimex"),
    .systemLibrary(name: "CEpoll"),
    .target(name: "DroverHashing", dependencies: ["CCrypto"], swiftSettings: house),
    .target(name: "DroverWire", dependencies: ["DroverCore", "CJSONC", "CZlib"], swiftSettings: house),
    .target(name: "DroverMQTT", dependencies: ["DroverCore", "CMosquitto", "CEpoll", logging], swiftSettings: house),
    .target(
      name: "DroverSQLite",
      dependencies: ["DroverCore", "DroverHashing", "DroverWire", "CSQLite"] + grdb, swiftSettings: house),
    .target(
      name: "DroverPostgreSQL", dependencies: ["DroverCore", "DroverWire", "CPostgreSQL"], swiftSettings: house),

    // The services: they import no adapter.
    .target(name: "DroverEvents", dependencies: [logging], swiftSettings: house),
    .target(
      name: "DroverEdge", dependencies: ["DroverCore", "DroverWire", "DroverEvents", logging], swiftSettings: house),
    .target(
      name: "DroverCloud", dependencies: ["DroverCore", "DroverWire", "DroverEvents", logging], swiftSettings: house),
    .target(
      name: "DroverServices",
      dependencies: [
        "DroverCore", "DroverWire", "DroverCloud", logging,
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ], swiftSettings: house),

    // What people and programs ask over HTTP, and what is posted to them: it knows only the core's seams.
    .target(
      name: "DroverHTTP",
      dependencies: [
        "DroverCore", "DroverWire", "DroverHashing", logging,
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "HummingbirdTLS", package: "hummingbird"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      resources: ["cloud.yaml", "edge.yaml"].map { .embedInCode($0) } + page.map { .embedInCode("page/\($0)") },
      swiftSettings: house),

    // Programs on loopback, for the tests and the benchmark.
    .target(name: "DroverProcesses", swiftSettings: house),
    .target(
      name: "DroverBench",
      dependencies: [
        "DroverCore", "DroverWire", "DroverEdge", "DroverMQTT", "DroverSQLite", "DroverPostgreSQL", "DroverProcesses",
        logging,
      ],
      swiftSettings: house),

    // The hot loops one by one: `make microbench`.
    .executableTarget(
      name: "drover-benchmarks",
      dependencies: [
        "DroverCore", "DroverWire", "DroverSQLite", "DroverEdge", "DroverCloud", "DroverProcesses", logging,
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Benchmarks", swiftSettings: house),

    // What a person touches.
    .target(name: "DroverTerminal", dependencies: ["DroverCore"], swiftSettings: house),
    .target(
      name: "DroverConfiguration",
      dependencies: [
        "DroverCore", "DroverHashing", .product(name: "Yams", package: "Yams"),
      ],
      swiftSettings: house),
    .executableTarget(
      name: "drover",
      dependencies: [
        "DroverCore", "DroverEvents", "DroverWire", "DroverMQTT", "DroverSQLite", "DroverPostgreSQL", "DroverEdge",
        "DroverCloud", "DroverServices", "DroverTerminal", "DroverConfiguration", "DroverHTTP", "DroverBench", "CTimex",
        logging,
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      swiftSettings: house, linkerSettings: smaller),

    // Conformance suites and helpers of the tests; never shipped.
    .target(
      name: "DroverTesting", dependencies: ["DroverCore", "DroverWire", "DroverCloud", "DroverProcesses", logging],
      path: "Tests/Support", swiftSettings: house),
    .testTarget(
      name: "DroverCoreTests", dependencies: ["DroverCore", "DroverTerminal", "DroverTesting"], swiftSettings: house),
    .testTarget(
      name: "DroverTerminalTests", dependencies: ["DroverTerminal", "DroverCore"], swiftSettings: house),
    // The services, with the stores and the time that they meet in the simulation.
    .testTarget(
      name: "DroverEdgeTests",
      dependencies: [
        "DroverEdge", "DroverCore", "DroverWire", "DroverEvents", "DroverSQLite", "DroverSimulation", "DroverTesting",
        "DroverProcesses", logging,
      ], swiftSettings: house),
    .testTarget(
      name: "DroverCloudTests",
      dependencies: [
        "DroverCloud", "DroverServices", "DroverCore", "DroverWire", "DroverEvents", "DroverSQLite", "DroverHTTP",
        "DroverTesting", "DroverProcesses", logging,
      ], swiftSettings: house),
    .testTarget(name: "DroverHashingTests", dependencies: ["DroverHashing"], swiftSettings: house),
    .testTarget(name: "DroverWireTests", dependencies: ["DroverWire", "DroverTesting"], swiftSettings: house),
    .testTarget(
      name: "DroverMQTTTests", dependencies: ["DroverMQTT", "DroverTesting", "DroverProcesses"], swiftSettings: house),
    .testTarget(
      name: "DroverSQLiteTests",
      dependencies: ["DroverSQLite", "DroverWire", "DroverCloud", "DroverTesting", "DroverProcesses", logging] + grdb,
      swiftSettings: house),
    .testTarget(
      name: "DroverPostgreSQLTests",
      dependencies: [
        "DroverPostgreSQL", "DroverCloud", "DroverWire", "DroverTesting", "DroverProcesses", logging,
      ], swiftSettings: house),

    // Everything but the network under one seed: docs/simulation.md.
    .target(
      name: "DroverSimulation",
      dependencies: [
        "DroverCore", "DroverEvents", "DroverWire", "DroverSQLite", "DroverEdge", "DroverCloud",
        "DroverConfiguration",
        "DroverTerminal", "CSQLite", logging,
      ],
      path: "Tests/Simulation", swiftSettings: house),
    .executableTarget(
      name: "drover-fuzz",
      dependencies: ["DroverSimulation", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      path: "Tests/FuzzProgram", swiftSettings: house),
    .executableTarget(
      name: "drover-simulate",
      dependencies: ["DroverSimulation", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      path: "Tests/Simulate", swiftSettings: house),
    .testTarget(
      name: "SimulationTests",
      dependencies: [
        "DroverSimulation", "DroverCore", "DroverWire", "DroverSQLite", "DroverEdge", "DroverTesting",
        "DroverProcesses", logging,
      ],
      swiftSettings: house),
    // One machine and the cloud with the product's own stores, SQLite and PostgreSQL: two-way rows.
    .testTarget(
      name: "PairTests",
      dependencies: [
        "DroverSimulation", "DroverCore", "DroverWire", "DroverSQLite", "DroverPostgreSQL", "DroverTesting",
        "DroverProcesses",
      ],
      swiftSettings: house),
    .testTarget(
      name: "DroverConfigurationTests",
      dependencies: [
        "DroverConfiguration", "DroverHashing", "DroverTesting", "DroverProcesses",
        .product(name: "Yams", package: "Yams"),
      ],
      swiftSettings: house),
    .testTarget(
      name: "DroverHTTPTests",
      dependencies: [
        "DroverHTTP", "DroverCore", "DroverWire", .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "NIOCore", package: "swift-nio"), .product(name: "Yams", package: "Yams"),
      ],
      swiftSettings: house),
    .testTarget(
      name: "DocumentationTests",
      dependencies: [
        "DroverConfiguration", "DroverCore", "DroverProcesses", "drover",
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: house),
    .testTarget(
      name: "EndToEndTests",
      dependencies: [
        "DroverTesting", "DroverProcesses", "DroverPostgreSQL", "drover",
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      exclude: ["Scripts"],
      swiftSettings: house),
  ]
)
