// The program that was built with the tests, and what it says of its own commands.

import DroverProcesses
import Foundation
import Subprocess
import SystemPackage
import Testing

enum Program {
  static let path = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent().appending(path: "drover").path

  /// What a program prints; its exit status has to be 0.
  static func output(_ program: String, _ arguments: [String]) async throws -> String {
    let executable: Executable = program.contains("/") ? .path(FilePath(program)) : .name(program)
    let result = try await Subprocess.run(
      executable, arguments: Arguments(arguments), output: .string(limit: 1 << 22), error: .string(limit: 1 << 22))
    guard case .exited(0) = result.terminationStatus else { throw ProgramFailed(words: result.standardError) }
    return result.standardOutput
  }

  struct ProgramFailed: Error, CustomStringConvertible {
    let words: String
    var description: String { words }
  }

  private struct Dump: Decodable {
    struct Command: Decodable {
      struct Argument: Decodable {
        struct Name: Decodable {
          let kind: String
          let name: String
        }
        let names: [Name]?
      }
      let commandName: String
      let arguments: [Argument]?
      let subcommands: [Command]?
    }
    let command: Command
  }

  /// Each command, such as `dead list`, with its options.
  static func commands() async throws -> [String: Set<String>] {
    let dump = try JSONDecoder().decode(
      Dump.self, from: Data(try await output(path, ["--experimental-dump-help"]).utf8))
    var options: [String: Set<String>] = [:]
    func add(_ command: Dump.Command, _ before: String) {
      let name = before.isEmpty ? command.commandName : "\(before) \(command.commandName)"
      options[name] = Set(
        (command.arguments ?? []).flatMap { $0.names ?? [] }.map { $0.kind == "long" ? "--\($0.name)" : "-\($0.name)" })
      for sub in command.subcommands ?? [] { add(sub, name) }
    }
    for command in dump.command.subcommands ?? [] { add(command, "") }
    return options
  }
}

@Suite struct ReferenceTests {
  @Test func `the page of commands is what the program says`() async throws {
    let script = Repository.root.appending(path: "scripts/cli-reference").path
    let made = try await Program.output("python3", [script, Program.path])
    let page = try Repository.text("docs/reference/cli.md")
    #expect(made == page, "run: make cli-reference")
  }
}
