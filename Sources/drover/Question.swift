// How a command asks before it does what cannot be taken back.

import ArgumentParser
import Foundation

/// Asks at the terminal. Without one nothing is done: what would be done is an error, with the advice to add `--yes`.
/// - Parameters:
///   - question: without its question mark's answers.
///   - consequence: the same as a statement, for an error message.
func confirm(_ question: String, _ consequence: String) throws -> Bool {
  guard isatty(STDIN_FILENO) != 0 else {
    throw fail("\(consequence); there is no terminal to ask at; add --yes to do it", ExitCode.validationFailure)
  }
  print("\(question) [y/N] ", terminator: "")
  fflush(nil)
  return ["y", "yes"].contains(readLine()?.trimmingCharacters(in: .whitespaces).lowercased())
}
