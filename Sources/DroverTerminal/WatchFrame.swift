// A view laid out for a window: never wider, never higher, and nothing in it that a terminal could take for a command.

import DroverCore

package struct WatchFrame: Equatable, Sendable {
  package struct Line: Equatable, Sendable {
    package enum Style: Sendable { case plain, strong, alarm, faint }

    package var text: String
    package var style: Style
  }

  package struct Size: Equatable, Sendable {
    package var columns: Int
    package var rows: Int

    package init(columns: Int, rows: Int) {
      self.columns = columns
      self.rows = rows
    }

    /// No window: everything is shown.
    package static let unlimited = Size(columns: 10_000, rows: .max)
  }

  package private(set) var lines: [Line] = []

  private static let gap = 2
  /// Fewer bars tell nothing.
  private static let leastBars = 8
  private static let bars = Array("▁▂▃▄▅▆▇█")

  /// - Parameters:
  ///   - footer: the last line.
  ///   - skipped: rows of the table that were scrolled past.
  package init(_ view: WatchView, size: Size, footer: String?, skipped: Int = 0) {
    let room = max(0, size.rows - (footer == nil ? 0 : 1))
    for text in view.header { add(text, .strong, size) }
    // A table with its titles has at least a third.
    addProblems(view.problems, most: room == .max ? .max : max(0, room * 2 / 3 - lines.count - 1), size)
    if !lines.isEmpty { add("", .plain, size) }
    addTable(view, most: room == .max ? .max : max(0, room - lines.count), skipped: skipped, size)
    lines = Array(lines.prefix(room))
    if let footer, size.rows > 0 {
      while size.rows != .max, lines.count < room { add("", .plain, size) }
      add(footer, .faint, size)
    }
  }

  private mutating func add(_ text: String, _ style: Line.Style, _ size: Size) {
    lines.append(Line(text: Self.fitted(printable(text), size.columns), style: style))
  }

  private mutating func addProblems(_ problems: [WatchView.Problem], most: Int, _ size: Size) {
    guard !problems.isEmpty, most > 0 else { return }
    // One line is kept for the number of those that have no room.
    let shown = problems.count * 2 <= most ? problems.count : max(0, (most - 1) / 2)
    for problem in problems.prefix(shown) {
      add("! \(problem.text)", .alarm, size)
      add("  \(problem.advice)", .plain, size)
    }
    if shown < problems.count {
      add(shown == 0 ? "! \(problems.count) problems" : "! and \(problems.count - shown) more", .alarm, size)
    }
  }

  // MARK: The table

  private mutating func addTable(_ view: WatchView, most: Int, skipped: Int, _ size: Size) {
    guard most > 0 else { return }
    let rest = view.rows.dropFirst(min(skipped, max(0, view.rows.count - 1)))
    let room = most - 1
    let shown = rest.count <= room ? rest.count : max(0, room - 1)
    let rows = Array(rest.prefix(shown))
    let layout = Layout(view.columns, rows, width: size.columns)
    add(layout.line(view.columns.map(\.title), bars: "last hour"), .strong, size)
    let (leastBars, bars) = (Self.leastBars, layout.bars)
    for row in rows {
      let sparkline = bars >= leastBars ? Self.sparkline(row.counts, bars) : ""
      add(layout.line(row.cells, bars: sparkline), row.isBad ? .alarm : .plain, size)
    }
    if shown < rest.count { add("\(rest.count - shown) more \(view.rowWord)", .faint, size) }
  }

  /// Which columns there is room for, and how wide each is.
  private struct Layout {
    private let columns: [WatchView.Column]
    /// nil where a column was left out.
    private var widths: [Int?]
    /// How many bars a sparkline may have.
    private(set) var bars = 0

    init(_ columns: [WatchView.Column], _ rows: [WatchView.Row], width: Int) {
      self.columns = columns
      widths = columns.indices.map { index in
        ([columns[index].title] + rows.map { $0.cells[index] }).map { printable($0).count }.max()
      }
      // Bars go first, and the first column never.
      let byRank = columns.indices.sorted { columns[$0].rank > columns[$1].rank }
      for index in byRank.dropLast() where used > width { widths[index] = nil }
      bars = min(FleetHistory.buckets, max(0, width - used - WatchFrame.gap))
    }

    private var used: Int {
      let there = widths.compactMap(\.self)
      return there.reduce(0, +) + WatchFrame.gap * (there.count - 1)
    }

    func line(_ cells: [String], bars text: String) -> String {
      var parts: [String] = []
      for (index, cell) in cells.enumerated() {
        guard let width = widths[index] else { continue }
        let cell = printable(cell)
        let padding = String(repeating: " ", count: max(0, width - cell.count))
        parts.append(columns[index].isNumeric ? padding + cell : cell + padding)
      }
      let gap = String(repeating: " ", count: WatchFrame.gap)
      return parts.joined(separator: gap) + (bars >= WatchFrame.leastBars ? gap + text : "")
    }
  }

  /// Bars from nothing to the row's own most.
  private static func sparkline(_ counts: [Int], _ width: Int) -> String {
    let shown = counts.suffix(width)
    guard let most = shown.max(), most > 0 else { return "" }
    return String(shown.map { $0 == 0 ? " " : bars[min(bars.count - 1, $0 * bars.count / (most + 1))] })
  }

  private static func fitted(_ text: String, _ width: Int) -> String {
    guard text.count > width else { return text }
    return width > 0 ? text.prefix(width - 1) + "…" : ""
  }
}
