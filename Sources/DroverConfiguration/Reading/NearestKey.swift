// What a person may have meant by a key that does not exist.

/// The known key that is nearest: one that begins with what was written, or one a few typing errors away.
func nearest(to key: String, among known: [String]) -> String? {
  let written = key.lowercased().replacing("-", with: "_")
  if written.count >= 3, let longer = known.first(where: { $0.hasPrefix(written) }) { return longer }
  return
    known
    .map { (key: $0, distance: editDistance(written, $0)) }
    .filter { $0.distance <= max(1, $0.key.count / 3) }
    .min { $0.distance < $1.distance }?
    .key
}

/// How many letters must be put in, taken out, replaced or swapped with their neighbour.
private func editDistance(_ a: String, _ b: String) -> Int {
  let (a, b) = (Array(a), Array(b))
  // Three rows of the usual table are enough: the row being filled and the two above it.
  var beforeLast: [Int] = []
  var last = Array(0...b.count)
  for i in a.indices {
    var row = [i + 1]
    for j in b.indices {
      var distance = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { distance = min(distance, beforeLast[j - 1] + 1) }
      row.append(distance)
    }
    (beforeLast, last) = (last, row)
  }
  return last[b.count]
}
