// swift-tools-version: 6.2
import PackageDescription

// --- Guests: Embedded Swift for the host's own triple, linked static and freestanding. SwiftPM adds whole-module
// compilation and leaves out the Swift runtime because of the `Embedded` feature.
let guestSwift: [SwiftSetting] = [
  .enableExperimentalFeature("Embedded"),
  .enableExperimentalFeature("Extern"),
  .unsafeFlags([
    "-wmo", "-Osize", "-Xfrontend", "-disable-stack-protector", "-Xfrontend", "-function-sections",
    "-Xcc", "-ffreestanding", "-Xcc", "-mno-red-zone", "-Xcc", "-fno-omit-frame-pointer",
  ]),
]
let guestC: [CSetting] = [
  .unsafeFlags([
    "-ffreestanding", "-fno-builtin", "-fno-stack-protector", "-ffunction-sections", "-mno-red-zone",
    "-fno-omit-frame-pointer", "-O2",
  ])
]
// Coverage instruments guests too; their profile runtime would want a C library, so it is left dangling.
let instrumented = Context.environment["EXO_COVERAGE"] != nil
// No linker script, which SwiftPM would not track: lld's default layout gives page-separated R, RX and RW
// segments. The Unicode archive is named relative to the compiler's own library path.
let guestLink: [LinkerSetting] = [
  .unsafeFlags(
    [
      // For images whose own code is C: without it the driver links the Swift runtime.
      "-enable-experimental-feature", "Embedded",
      "-use-ld=lld", "-Xclang-linker", "-nostdlib", "-Xclang-linker", "-static", "-Xclang-linker",
      "-Wno-unused-command-line-argument", "-Xlinker", "--image-base=0x400000", "-Xlinker",
      "--gc-sections", "-Xlinker", "-zmax-page-size=4096", "-Xlinker", "-zseparate-code", "-Xlinker",
      "-znorelro", "-Xlinker", "--build-id=none", "-Xlinker",
      "-l:../embedded/x86_64-unknown-linux-gnu/libswiftUnicodeDataTables.a",
    ] + (instrumented ? ["-Xlinker", "--unresolved-symbols=ignore-all"] : []))
]

// ExOS, the library operating system, as modules that an application links, changes or replaces one by one. Each is
// there a second time for the host, through a link to the same folder, so that tests compile the files a guest runs;
// what they import under a guest's name is the host's then.
func exos(_ name: String, uses: [String] = []) -> [Target] {
  let modules = ["LibOS"] + uses.map { "Exos\($0)" }
  return [
    .target(
      name: "Exos\(name)",
      dependencies: ["ExoABI", "GuestRuntime"] + modules.map { .init(stringLiteral: $0) },
      path: "Sources/Exos/\(name)", swiftSettings: guestSwift),
    .target(
      name: "Exos\(name)Host", dependencies: ["ExoABI"] + modules.map { .init(stringLiteral: "\($0)Host") },
      path: "Sources/ExosHost/\(name)",
      swiftSettings: [.unsafeFlags(modules.flatMap { ["-module-alias", "\($0)=\($0)Host"] })]),
  ]
}
let exosModules =
  exos("Memory") + exos("Threads", uses: ["Memory"]) + exos("IPC") + exos("Process", uses: ["IPC"])
  + exos("Fork", uses: ["Memory", "Process"]) + exos("Shell") + exos("Network")
let exosNames = exosModules.map(\.name).filter { !$0.hasSuffix("Host") }

func guest(_ name: String, _ path: String, with more: [Target.Dependency] = []) -> Target {
  // Any image may be run as a process, by the shell for example: then its arguments and streams come from its maker.
  .executableTarget(
    name: name, dependencies: ["LibOS", "GuestRuntime", "ExosProcess"] + more, path: "guests/\(path)",
    swiftSettings: guestSwift)
}
// Image target and folder. Few images: each costs build time, so related guests share one and are chosen by name.
// EXO_GUESTS=hello, or more folders with commas between, leaves the others out: for whoever edits the LibOS and
// wants to see one guest, because Embedded Swift compiles every image anew then.
let chosenGuests = Context.environment["EXO_GUESTS"]?.split(separator: ",").map { "guests/\($0)" }
let guests = [
  guest("GuestHello", "hello"), guest("GuestBasics", "basics"), guest("GuestFamily", "family"),
  guest(
    "GuestBench", "bench",
    with: ["BenchLoops", "BenchWork", "BenchProducts", "ExosMemory", "ExosThreads", "ExosIPC"]),
  guest("GuestExos", "exos", with: ["ExosSupport", "ExosMemory", "ExosThreads", "ExosConcurrency"]),
  guest("GuestUnix", "unix", with: ["ExosIPC", "ExosFork", "ExosShell"]),
  guest("GuestNetwork", "network", with: ["ExosNetwork", "ExosThreads", "ExosConcurrency"]),
  guest("GuestHostile", "hostile", with: ["HostileSupport", "ExosMemory", "ExosIPC", "ExosNetwork"]),
  .executableTarget(
    name: "GuestC", dependencies: ["LibOSC", "LibOSCHeader"], path: "guests/c", cSettings: guestC),
].filter { chosenGuests?.contains($0.path ?? "") ?? true }

// Products of matrices in Swift, for guests and for Linux: one folder, compiled twice.
let products: [Target] = [
  .target(
    name: "BenchProducts", path: "Benchmarks/Products",
    swiftSettings: guestSwift + [.unsafeFlags(["-O"])]),
  .target(
    name: "BenchProductsHost", path: "Benchmarks/ProductsHost",
    swiftSettings: [.unsafeFlags(["-O", "-Xcc", "-fno-omit-frame-pointer"])]),
]

// Measurement code is optimised in every build: a figure from a debug build would mean nothing.
let measured: [CSetting] = [.define("_GNU_SOURCE"), .unsafeFlags(["-O2"])]

let hostSwift: [SwiftSetting] = [.strictMemorySafety(), .enableExperimentalFeature("Lifetimes")]
let logging: Target.Dependency = .product(
  name: "Logging", package: "swift-log", condition: .when(traits: ["Host"]))
let staticHost: [LinkerSetting] =
  Context.environment["EXO_STATIC"] != nil ? [.unsafeFlags(["-static-executable"])] : []

let package = Package(
  name: "exo",
  products: [
    .library(name: "Exo", targets: ["Exo"]),
    .library(name: "LibOS", targets: ["LibOS", "GuestRuntime"]),
    .library(name: "LibOSC", targets: ["LibOSC", "LibOSCHeader"]),
    .executable(name: "exorun", targets: ["exorun"]),
  ] + exosNames.map { .library(name: $0, targets: [$0]) },
  // Who writes a guest takes neither (`traits: []`): no other package is fetched then, and no built-in guest is built.
  // Who embeds Exo takes Host.
  traits: [
    .trait(name: "Host", description: "The library that runs guests."),
    .trait(name: "Tools", description: "exorun and the built-in guests.", enabledTraits: ["Host"]),
    .default(enabledTraits: ["Tools"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
  ],
  targets: [
    // Shared by both sides.
    .target(name: "ExoABI"),
    // The guest side.
    .target(
      name: "GuestRuntime", dependencies: ["ExoABI"], cSettings: guestC, linkerSettings: guestLink),
    .target(name: "LibOS", dependencies: ["ExoABI", "GuestRuntime"], swiftSettings: guestSwift),
    // Swift's tasks on the LibOS's threads; images that have no use for it are spared the concurrency library.
    .target(name: "ConcurrencySupport", dependencies: ["ExoABI"], cSettings: guestC),
    .target(
      name: "ExosConcurrency", dependencies: ["LibOS", "ExosThreads", "ExosNetwork", "ConcurrencySupport"],
      path: "Sources/Exos/Concurrency", swiftSettings: guestSwift,
      linkerSettings: [
        .unsafeFlags([
          "-Xlinker", "-l:../embedded/x86_64-unknown-linux-gnu/libswift_Concurrency.a",
        ])
      ]),
    // The LibOS for guests written in C: exo.h.
    .target(name: "LibOSCHeader", dependencies: ["ExoABI", "GuestRuntime"], cSettings: guestC),
    .target(
      name: "LibOSC", dependencies: ["LibOS", "ExosProcess", "LibOSCHeader", "ExoABI"],
      swiftSettings: guestSwift),
    // What guests of the library operating system cannot say in Swift.
    .target(name: "ExosSupport", dependencies: ["ExoABI"], cSettings: guestC),
    // What the hostile guest cannot say in Swift.
    .target(name: "HostileSupport", dependencies: ["ExoABI"], cSettings: guestC),
  ] + exosModules + products + guests + [
    .plugin(
      name: "StageGuests", capability: .buildTool(),
      dependencies: guests.map { .target(name: $0.name, condition: .when(traits: ["Tools"])) }),
    // Optimised in every build: decoding the images would take most of a debug build's launch.
    .target(name: "ExoGuests", swiftSettings: [.unsafeFlags(["-O"])], plugins: ["StageGuests"]),
    // The exokernel.
    .target(name: "CKVM"),
    // JSON, for reports, the benchmark's files and the control socket.
    .target(name: "JSONText"),
    .target(name: "Nucleus", dependencies: ["ExoABI"]),
    .target(
      name: "Exo",
      dependencies: [
        "CKVM", "ExoABI", "Nucleus", "JSONText", logging,
      ], swiftSettings: hostSwift),
    // The benchmark: the mechanisms without Exo, Linux doing the same work, and what is made of the figures.
    .target(name: "BenchSupport", path: "Benchmarks/Support", cSettings: measured),
    .target(
      name: "BenchFloor", dependencies: ["BenchSupport"], path: "Benchmarks/Floor", cSettings: measured),
    .target(
      name: "BenchLinux", dependencies: ["BenchSupport", "BenchWork", "BenchProductsHost"],
      path: "Benchmarks/Linux",
      cSettings: measured),
    // For both sides, compiled as guests are, so that both run the same instructions.
    .target(name: "BenchWork", path: "Benchmarks/Work", cSettings: guestC),
    .target(name: "BenchLoops", dependencies: ["ExoABI"], path: "Benchmarks/Guest", cSettings: guestC),
    .target(name: "BenchKit", dependencies: ["JSONText"]),
    // The built-in guests by name, and the ends they must come to.
    .target(name: "ExoSelftest", dependencies: ["Exo", "ExoGuests"], swiftSettings: hostSwift),
    // The part of TOML that `exorun up` reads, with the line of everything.
    .target(name: "TOML"),
    // The command line.
    .executableTarget(
      name: "exorun",
      dependencies: [
        "Exo", "ExoABI", "CKVM", "ExoGuests", "ExoSelftest", "TOML", "BenchFloor", "BenchLinux", "BenchKit",
        "BenchSupport", "JSONText",
        .product(
          name: "ArgumentParser", package: "swift-argument-parser", condition: .when(traits: ["Tools"])),
        logging,
      ], swiftSettings: hostSwift, linkerSettings: staticHost),
    // What docs/embedding.md explains.
    .executableTarget(name: "EmbeddingExample", dependencies: ["Exo"], path: "Examples/embedding"),
    // The LibOS for the host, as ExOS above.
    .target(name: "LibOSHost", dependencies: ["ExoABI"]),
    // What tests share: requirements, running programs.
    .target(name: "TestSupport", path: "Tests/TestSupport"),
    .testTarget(name: "ABITests", dependencies: ["ExoABI", "Nucleus"]),
    .testTarget(name: "ExoTests", dependencies: ["Exo", "ExoABI", "CKVM", "JSONText", "TestSupport"]),
    .testTarget(
      name: "BenchTests",
      dependencies: [
        "JSONText", "BenchKit", "BenchFloor", "BenchLinux", "BenchSupport", "TestSupport", "exorun",
      ]),
    .testTarget(
      name: "LibOSTests",
      dependencies: ["LibOSHost", "ExoABI", "TestSupport"]
        + exosModules.map(\.name).filter { $0.hasSuffix("Host") }.map { .init(stringLiteral: $0) }),
    .testTarget(
      name: "GuestTests",
      dependencies: ["Exo", "ExoGuests", "ExoSelftest", "ExoABI", "CKVM", "TestSupport", "TOML"]),
    .testTarget(name: "CommandLineTests", dependencies: ["TestSupport", "ExoABI", "CKVM", "JSONText"]),
  ])
