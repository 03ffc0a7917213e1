import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverTerminal
import Foundation

struct WatchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch",
    abstract: "Shows the status in the terminal and renews it every 2 seconds.",
    discussion: """
      Examples:
        drover watch --config cloud.yaml      # the fleet: what is wrong, and every machine, the worst first
        drover watch --config edge.yaml       # one machine's streams
        drover watch --config cloud.yaml | cat

      The command reads the store itself every 2 seconds, so it needs no HTTP. The bars show the minutes since it was started.
      Keys: q or Ctrl-C ends it, s changes the order, j and k scroll. Without a terminal it prints the status once and ends.
      """)

  private static let interval = Duration.seconds(2)

  @OptionGroup var options: ConfigurationOption

  func run() async throws {
    var source = WatchSource(try options.any())
    guard let terminal = Terminal() else { return try printOnce(&source) }
    defer { terminal.restore() }
    watch(&source, terminal)
  }

  private func printOnce(_ source: inout WatchSource) throws {
    do {
      let frame = WatchFrame(try source.look(.worst), size: .unlimited, footer: nil)
      for line in frame.lines { print(line.text) }
    } catch {
      throw fail("watch: \(error)")
    }
  }

  /// Blocks, which does no harm: nothing else runs in this process.
  private func watch(_ source: inout WatchSource, _ terminal: Terminal) {
    let began = Timestamp.text(microseconds: wallClock()).dropFirst(11).prefix(8)
    var order = WatchView.Order.worst
    var skipped = 0
    while true {
      let view = look(&source, order)
      let nextLook = ContinuousClock.now.advanced(by: Self.interval)
      var isWaiting = true
      while isWaiting {
        let footer = "q ends  s sorts: \(order.rawValue)  j k scroll  bars: seen since \(began) UTC"
        terminal.show(WatchFrame(view, size: terminal.size, footer: footer, skipped: skipped))
        switch terminal.next(within: ContinuousClock.now.duration(to: nextLook)) {
        case .nothing: isWaiting = false
        case .resized: break
        case .end, .key(UInt8(ascii: "q")), .key(3): return
        case .key(UInt8(ascii: "s")):
          order = order.next
          isWaiting = false
        case .key(UInt8(ascii: "j")): skipped = min(skipped + 1, view.rowCount)
        case .key(UInt8(ascii: "k")): skipped = max(0, skipped - 1)
        case .key: break
        }
      }
    }
  }

  private func look(_ source: inout WatchSource, _ order: WatchView.Order) -> WatchView {
    do { return try source.look(order) } catch {
      return WatchView(failure: "\(error)")
    }
  }
}
