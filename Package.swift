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

func guest(_ name: String, _ path: String, with more: [Target.Dependency] = []) -> Target {
  .executableTarget(
    name: name, dependencies: ["LibOS", "GuestRuntime"] + more, path: "guests/\(path)",
    swiftSettings: guestSwift)
}
// Image target and folder. Few images: each costs build time, so related guests share one and are chosen by name.
// EXO_GUESTS=hello, or more folders with commas between, leaves the others out: for whoever edits the LibOS and
// wants to see one guest, because Embedded Swift compiles every image anew then.
let chosenGuests = Context.environment["EXO_GUESTS"]?.split(separator: ",").map { "guests/\($0)" }
let guests = [
  guest("GuestHello", "hello"), guest("GuestBasics", "basics"), guest("GuestFamily", "family"),
  guest("GuestBench", "bench", with: ["BenchLoops", "BenchWork"]),
  guest("GuestExos", "exos", with: ["ExosSupport", "LibOSConcurrency"]),
  guest("GuestUnix", "unix"),
  guest("GuestNetwork", "network"),
  guest("GuestHostile", "hostile", with: ["HostileSupport"]),
  .executableTarget(
    name: "GuestC", dependencies: ["LibOSC", "LibOSCHeader"], path: "guests/c", cSettings: guestC),
].filter { chosenGuests?.contains($0.path ?? "") ?? true }

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
  ],
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
      name: "LibOSConcurrency", dependencies: ["LibOS", "ConcurrencySupport"], swiftSettings: guestSwift,
      linkerSettings: [
        .unsafeFlags([
          "-Xlinker", "-l:../embedded/x86_64-unknown-linux-gnu/libswift_Concurrency.a",
        ])
      ]),
    // The LibOS for guests written in C: exo.h.
    .target(name: "LibOSCHeader", dependencies: ["ExoABI", "GuestRuntime"], cSettings: guestC),
    .target(
      name: "LibOSC", dependencies: ["LibOS", "LibOSCHeader", "ExoABI"], swiftSettings: guestSwift),
    // What guests of the library operating system cannot say in Swift.
    .target(name: "ExosSupport", dependencies: ["ExoABI"], cSettings: guestC),
    // What the hostile guest cannot say in Swift.
    .target(name: "HostileSupport", dependencies: ["ExoABI"], cSettings: guestC),
  ] + guests + [
    .plugin(
      name: "StageGuests", capability: .buildTool(),
      dependencies: guests.map { .target(name: $0.name, condition: .when(traits: ["Tools"])) }),
    // Optimised in every build: decoding the images would take most of a debug build's launch.
    .target(name: "ExoGuests", swiftSettings: [.unsafeFlags(["-O"])], plugins: ["StageGuests"]),
    // The exokernel.
    .target(name: "CKVM"),
    .target(name: "CNetwork"),
    // JSON, for reports, the benchmark's files and the control socket.
    .target(name: "JSONText"),
    .target(name: "Nucleus", dependencies: ["ExoABI"]),
    .target(
      name: "Exo",
      dependencies: [
        "CKVM", "CNetwork", "ExoABI", "Nucleus", "JSONText", logging,
      ], swiftSettings: hostSwift),
    // The benchmark: the mechanisms without Exo, Linux doing the same work, and what is made of the figures.
    .target(name: "BenchSupport", path: "Benchmarks/Support", cSettings: measured),
    .target(
      name: "BenchFloor", dependencies: ["BenchSupport"], path: "Benchmarks/Floor", cSettings: measured),
    .target(
      name: "BenchLinux", dependencies: ["BenchSupport", "BenchWork"], path: "Benchmarks/Linux",
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
    // The same LibOS sources for the host, through a link, so that tests compile the files a guest runs.
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
    .testTarget(name: "LibOSTests", dependencies: ["LibOSHost", "ExoABI", "TestSupport"]),
    .testTarget(
      name: "GuestTests",
      dependencies: ["Exo", "ExoGuests", "ExoSelftest", "ExoABI", "CKVM", "TestSupport", "TOML"]),
    .testTarget(name: "CommandLineTests", dependencies: ["TestSupport", "ExoABI", "CKVM", "JSONText"]),
  ])
