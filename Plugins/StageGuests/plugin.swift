import Foundation
import PackagePlugin

/// Turns the guest images into one Swift file of base64 text, so that exorun carries its guests and needs no
/// files beside it. The whole ELF is kept: reports need its symbols and line tables.
@main struct StageGuests: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: Target) async throws -> [Command] {
    let guests = context.package.targets
      .filter { $0.name.hasPrefix("Guest") && $0.name != "GuestRuntime" && !$0.name.hasSuffix("Tests") }
    // SwiftPM runs the plugins of every target it knows, used or not. A package that depends on this one without
    // the trait Tools has no guest built for it.
    if guests.allSatisfy({ (try? context.tool(named: $0.name)) == nil }) { return [] }
    let images = try guests.map { try context.tool(named: $0.name).url }
    let table = context.pluginWorkDirectoryURL.appending(path: "StagedImages.swift")
    let script = #"""
      out=$1; shift
      { echo 'let stagedImages: [(name: StaticString, base64: StaticString)] = ['
        for f; do n=${f##*/}; printf '("%s", "' "${n%-tool}"; base64 -w0 "$f"; printf '"),\n'; done
        echo ']'; } > "$out"
      """#
    return [
      .buildCommand(
        displayName: "Staging guest images", executable: URL(fileURLWithPath: "/bin/sh"),
        arguments: ["-c", script, "sh", table.path] + images.map(\.path), inputFiles: images,
        outputFiles: [table])
    ]
  }
}
