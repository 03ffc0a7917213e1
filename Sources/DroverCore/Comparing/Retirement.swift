// A final record that is cleared at the edge is retired: the cloud keeps it, and that is no difference. The same holds for its lines, which an
// app may clear first.

/// The digests of a header and of each of its lines.
package struct UnitDigest: Equatable, Sendable {
  /// Of the header's own values.
  package var header: UInt64
  /// For each table of lines those of its rows, in whatever order.
  package var lines: [[UInt64]]

  package init(header: UInt64, lines: [[UInt64]]) {
    self.header = header
    self.lines = lines
  }

  package init(header: some Swift.Sequence<Value>, lines: [[[Value]]]) {
    self.init(header: Digest.of(header), lines: lines.map { $0.map { Digest.of($0) } })
  }

  /// Whether the header is the same, and each line is there too.
  package func isWithin(_ other: UnitDigest) -> Bool {
    guard header == other.header, lines.count == other.lines.count else { return false }
    return zip(lines, other.lines).allSatisfy { own, others in
      var left: [UInt64: Int] = [:]
      for digest in others { left[digest, default: 0] += 1 }
      return own.allSatisfy { digest in
        guard let count = left[digest], count > 0 else { return false }
        left[digest] = count - 1
        return true
      }
    }
  }
}

extension ReplicaRow {
  /// Whether what the edge has of it differs only in what was cleared there.
  package func isRetired(_ atEdge: RowState) -> Bool {
    guard isFinal else { return false }
    guard atEdge.digest != nil else { return true }
    guard let unit, let left = atEdge.unit else { return false }
    return left.isWithin(unit)
  }
}
