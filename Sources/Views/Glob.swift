#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A shell pattern (`web.*`), as `fnmatch(3)` understands it.
package struct Glob: Sendable {
  private let pattern: String

  package init(_ pattern: String) {
    self.pattern = pattern
  }

  package func matches(_ text: String) -> Bool {
    fnmatch(pattern, text, 0) == 0
  }
}
