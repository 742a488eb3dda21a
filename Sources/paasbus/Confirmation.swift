import Terminal

/// Asks the user whether to go on.
enum Confirmation {
  /// - Parameters:
  ///   - command: what asks.
  ///   - refusal: what it means not to go on.
  /// - Throws: ``Failure`` where the answer is not yes, or there is no terminal to ask on.
  static func ask(_ question: String, for command: String, otherwise refusal: String) throws {
    guard StandardStreams.isTerminal(0), StandardStreams.isTerminal(2) else {
      throw Failure(
        .usage, "\(command) asks for confirmation, and there is no terminal", remedy: "give --yes")
    }
    StandardStreams.writeError("\(question) [y/N] ")
    let answer = readLine()?.lowercased()
    if answer == nil { StandardStreams.writeError("\n") }
    guard ["y", "yes"].contains(answer) else {
      throw Failure(.failed, refusal, remedy: "answer y to go on")
    }
  }
}
