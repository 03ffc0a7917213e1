// What a running process has used so far, as the kernel counts it (proc(5)).

import Glibc

package struct ProcessUsage: Sendable {
  /// User and system time, in seconds; the kernel counts in ticks, 100 a second on most machines.
  package var cpuSeconds: Double
  /// The most memory that was resident at a time.
  package var peakBytes: Int

  /// - Returns: nil when the process is gone.
  package static func of(_ processID: Int32) -> ProcessUsage? {
    guard let stat = read("/proc/\(processID)/stat"), let status = read("/proc/\(processID)/status"),
      let name = stat.lastIndex(of: ")")
    else { return nil }
    // After the name, which may hold anything, the third field follows; user and system time are the 14th and 15th.
    let fields = stat[stat.index(after: name)...].split(separator: " ")
    guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return nil }
    let peak = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    let kilobytes = peak?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) }
    return ProcessUsage(
      cpuSeconds: (user + system) / Double(sysconf(Int32(_SC_CLK_TCK))), peakBytes: (kilobytes ?? 0) << 10)
  }

  private static func read(_ path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 8192)
    return String(decoding: bytes[..<fread(&bytes, 1, bytes.count, file)], as: UTF8.self)
  }
}
