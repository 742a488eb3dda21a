#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A ULID: 48 bits of time in ms and 80 random ones, in Crockford's base 32.
///
/// New for every run. The time is this machine's and only makes ids sort by age roughly; nothing
/// is ever decided by it. Source: the ULID specification.
public enum InstanceID {
  private static let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ")

  /// A new one.
  public static func make() -> String {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    let milliseconds = UInt64(max(0, time.tv_sec)) &* 1000 &+ UInt64(time.tv_nsec / 1_000_000)
    var random = SystemRandomNumberGenerator()
    let high = UInt64.random(in: 0..<(1 << 40), using: &random)
    let low = UInt64.random(in: 0..<(1 << 40), using: &random)
    return digits(milliseconds, count: 10) + digits(high, count: 8) + digits(low, count: 8)
  }

  private static func digits(_ value: UInt64, count: Int) -> String {
    String((0..<count).reversed().map { alphabet[Int(value >> (5 * UInt64($0)) & 31)] })
  }
}
