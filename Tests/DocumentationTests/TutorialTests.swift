// A tutorial that does not work as written loses the reader in the first ten minutes. Its commands are run here as they
// stand, but for the port and the home folder.

import DroverProcesses
import Foundation
import Testing

@Suite struct TutorialTests {
  /// Commands, and what they print once what was done before has had its effect.
  private struct Step {
    let line: Int
    let commands: String
    let output: [Substring]?
  }

  private static func steps() throws -> [Step] {
    let page = try Page(path: "docs/tutorial.md")
    let blocks = page.blocks
    return blocks.indices.compactMap { index in
      let block = blocks[index]
      guard block.language == "sh", !page.lines[block.line - 3].hasPrefix("<!-- not run") else { return nil }
      let next = index + 1 < blocks.count && blocks[index + 1].language == "text" ? blocks[index + 1].code : nil
      return Step(line: block.line, commands: block.code.joined(separator: "\n"), output: next)
    }
  }

  @Test func `the tutorial's commands do what it says`() async throws {
    let home = try TemporaryFolder()
    let steps = try Self.steps()
    #expect(steps.count > 12)
    #expect(steps.filter { $0.output != nil }.count > 5)
    var script = """
      export HOME='\(home.path)' PATH='\(URL(filePath: Program.path).deletingLastPathComponent().path)':$PATH
      cd '\(Repository.root.path)'
      # Whatever happens, nothing stays behind.
      trap 'cd "$HOME/drover-tutorial" 2>/dev/null && kill $(cat edge.pid cloud.pid broker.pid) 2>/dev/null' EXIT

      """
    for step in steps {
      if let output = step.output {
        // Only the last command is asked again: those before it, such as an INSERT, are done once.
        var commands = step.commands.split(separator: "\n")
        let question = commands.removeLast()
        try home.write(output.joined(separator: "\n"), to: "expected-\(step.line)")
        script += """
          \(commands.joined(separator: "\n"))
          printed() { \(question); }
          matches \(step.line) || exit 1

          """
      } else {
        script += "{\n\(step.commands)\n} || { echo 'line \(step.line) failed' >&2; exit 1; }\n"
      }
    }
    try home.write(
      """
      import re, sys
      expected = [re.escape(line).replace(re.escape('…'), '.*') for line in open(sys.argv[1]).read().split('\\n')]
      printed = sys.stdin.read().rstrip('\\n').split('\\n')
      same = len(expected) == len(printed) and all(re.fullmatch(e, p.rstrip()) for e, p in zip(expected, printed))
      sys.exit(0 if same else 1)
      """, to: "same.py")
    let matches = """
      matches() { # LINE: asks until the answer is that of the page
        for _ in $(seq 300); do
          printed > "$HOME/printed" 2>&1
          if python3 "$HOME/same.py" "$HOME/expected-$1" < "$HOME/printed"; then return 0; fi
          sleep 0.1
        done
        { echo "docs/tutorial.md:$1: expected"; cat "$HOME/expected-$1"; echo; echo "printed"; cat "$HOME/printed"; tail -n 5 *.log; } >&2
        return 1
      }

      """
    try home.write((matches + script).replacing("18830", with: "\(Loopback.freePort())"), to: "tutorial.sh")
    _ = try await Program.output("bash", [home.file("tutorial.sh")])
    #expect(!FileManager.default.fileExists(atPath: home.file("drover-tutorial")))
  }
}
