/// A span of time as a person says it, such as `16 min`; what is negative counts as nothing.
package func ageText(_ microseconds: Int64) -> String {
  switch max(0, microseconds) / 1000 {
  case let milliseconds where milliseconds < 1000: "\(milliseconds) ms"
  case let milliseconds where milliseconds < 120_000: "\(milliseconds / 1000) s"
  case let milliseconds where milliseconds < 7_200_000: "\(milliseconds / 60_000) min"
  case let milliseconds where milliseconds < 172_800_000: "\(milliseconds / 3_600_000) h"
  case let milliseconds: "\(milliseconds / 86_400_000) d"
  }
}
