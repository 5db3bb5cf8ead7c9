/// The files of a package that is made.
struct PackageTemplate {
  let name: PackageName
  let source: PackageSource
  let isC: Bool

  /// Folders in the order they are made, then files.
  var folders: [String] { ["", "/Sources", "/Sources/\(name.text)"] }
  var files: [(path: String, text: String)] {
    [
      ("/Package.swift", manifest), ("/.gitignore", ".build/\n"),
      ("/Sources/\(name.text)/" + (isC ? "main.c" : "Guest.swift"), isC ? cProgram : swiftProgram),
    ]
  }

  private var manifest: String {
    let settings =
      isC
      ? "cSettings: [.unsafeFlags([\"-ffreestanding\"])]"
      : "swiftSettings: [.enableExperimentalFeature(\"Embedded\")]"
    return """
      // swift-tools-version: 6.2
      import PackageDescription

      let package = Package(
        name: "\(name.text)",
        dependencies: [
          // No traits: neither exorun nor the built-in guests are built.
          .package(\(source.requirement), traits: [])
        ],
        targets: [
          .executableTarget(
            name: "\(name.text)",
            dependencies: [
              .product(name: "\(isC ? "LibOSC" : "LibOS")", package: \(PackageSource.quoted(source.identity)))
            ],
            \(settings))
        ])

      """
  }

  private var swiftProgram: String {
    """
    #if !hasFeature(Embedded)
      #error("a guest is Embedded Swift: add swiftSettings: [.enableExperimentalFeature(\\"Embedded\\")] to its target")
    #endif
    import LibOS

    @main enum Guest {
      static func main() {
        print("Hello from \(name.text).")
        for argument in Arguments.all.dropFirst() { print(argument) }
      }
    }

    """
  }

  private var cProgram: String {
    """
    #include "exo.h"

    int main(int argc, char **argv) {
      exo_print("Hello from \(name.text).\\n");
      for (int index = 1; index < argc; index++) exo_printf("%s\\n", argv[index]);
      return 0;
    }

    """
  }

  /// Writes it all below a folder, which is made. What was written is taken away again if something fails.
  func write(to root: String) throws(Failure) {
    var made: [String] = []
    do throws(HostFileError) {
      for folder in folders {
        try HostFolder.make(root + folder)
        made.append(root + folder)
      }
      for (path, text) in files {
        let file = try HostFile(writing: root + path)
        made.append(root + path)
        try file.write(text)
      }
    } catch {
      for path in made.reversed() { HostFolder.remove(path) }
      throw Failure(.usage, "\(root): \(error)")
    }
  }
}
