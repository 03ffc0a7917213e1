// The window that a person looks at: it is taken over while it lives, and given back as it was.

import DroverCore
import DroverTerminal
import Foundation

final class Terminal {
  enum Event: Equatable {
    case key(UInt8)
    case resized
    /// Nothing happened in the time.
    case nothing
    /// The terminal is gone, or a person wants the end.
    case end
  }

  /// The other screen, without a cursor and without lines that run on; and back.
  private static let enter = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l"
  private static let leave = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l"

  private let before: termios
  private let signals: SignalPipe

  /// nil if there is no terminal to show it or to press a key.
  init?() {
    var state = termios()
    guard isatty(STDOUT_FILENO) != 0, tcgetattr(STDIN_FILENO, &state) == 0, let signals = SignalPipe() else {
      return nil
    }
    before = state
    self.signals = signals
    // Keys come one by one and are not shown; Ctrl-C is one of them.
    state.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG)
    tcsetattr(STDIN_FILENO, TCSANOW, &state)
    write(Self.enter)
  }

  func restore() {
    write(Self.leave)
    var state = before
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &state)
    signals.close()
  }

  var size: WatchFrame.Size {
    var size = winsize()
    guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
      return WatchFrame.Size(columns: 80, rows: 24)
    }
    return WatchFrame.Size(columns: Int(size.ws_col), rows: Int(size.ws_row))
  }

  /// Draws over what was there, line by line, so that nothing flickers.
  func show(_ frame: WatchFrame) {
    let lines = frame.lines.map { "\($0.style.code)\($0.text)\u{1b}[0m\u{1b}[K" }
    write("\u{1b}[H" + lines.joined(separator: "\r\n") + "\u{1b}[J")
  }

  /// Waits for whatever comes first.
  func next(within time: Duration) -> Event {
    var sources = [
      pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0),
      pollfd(fd: signals.reader, events: Int16(POLLIN), revents: 0),
    ]
    let milliseconds = Int32(clamping: Int64(time / .milliseconds(1)))
    guard poll(&sources, 2, max(0, milliseconds)) > 0 else { return .nothing }
    if sources[1].revents != 0 { return signals.read() == UInt8(SIGWINCH) ? .resized : .end }
    var key: UInt8 = 0
    return read(STDIN_FILENO, &key, 1) == 1 ? .key(key) : .end
  }

  private func write(_ text: String) { FileHandle.standardOutput.write(Data(text.utf8)) }
}

extension WatchFrame.Line.Style {
  fileprivate var code: String {
    switch self {
    case .plain: ""
    case .strong: "\u{1b}[1m"
    case .alarm: "\u{1b}[31m"
    case .faint: "\u{1b}[2m"
    }
  }
}

/// Signals as bytes that can be waited for together with keys.
private final class SignalPipe {
  /// The end that a handler writes to: all that a handler may touch.
  nonisolated(unsafe) private static var writer: Int32 = -1
  private static let caught = [SIGTERM, SIGINT, SIGHUP, SIGWINCH]

  let reader: Int32

  init?() {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { return nil }
    reader = ends[0]
    Self.writer = ends[1]
    for number in Self.caught {
      signal(number) { number in
        var byte = UInt8(number)
        _ = Glibc.write(SignalPipe.writer, &byte, 1)
      }
    }
  }

  func read() -> UInt8 {
    var byte: UInt8 = 0
    return Glibc.read(reader, &byte, 1) == 1 ? byte : UInt8(SIGTERM)
  }

  func close() {
    for number in Self.caught { signal(number, SIG_DFL) }
    Glibc.close(reader)
    Glibc.close(Self.writer)
  }
}
