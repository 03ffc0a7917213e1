/// How frames travel: as JSON text, or packed for links that are paid by the byte.
package enum Compression: String, CaseIterable, Sendable {
  case none
  case deflate
}
