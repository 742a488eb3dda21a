import CSupervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A program that is to be started as a child that ends with us.
public struct ChildProgram {
  /// With their final zeros.
  private let arguments: [[CChar]]
  private let variables: [(name: String, value: String)]

  /// - Parameters:
  ///   - arguments: each with its final zero.
  ///   - variables: replace those of the same name in our environment.
  public init(arguments: [[CChar]], variables: [(name: String, value: String)] = []) {
    self.arguments = arguments
    self.variables = variables
  }

  public init(_ words: [String]) {
    self.init(arguments: words.map { Array($0.utf8CString) })
  }

  /// Starts it with the signals as they stood when this process began.
  ///
  /// - Returns: its process id, or -1 with `errno` set.
  public func spawn(deathSignal: CInt, leadsGroup: Bool = false) -> pid_t {
    let words = arguments.map { strdup($0) }
    let added = variables.map { strdup("\($0.name)=\($0.value)") }
    defer { for copy in words + added { free(copy) } }
    let vector = words.map { UnsafePointer($0) } + [nil]
    let environment = inheritedVariables + added.map { UnsafePointer($0) } + [nil]
    return vector.withUnsafeBufferPointer { vector in
      environment.withUnsafeBufferPointer { environment in
        var program = csupervisor_program()
        program.arguments = vector.baseAddress
        program.environment = environment.baseAddress
        program.death_signal = deathSignal
        program.signals = csupervisor_inherited_signals()
        program.leads_group = leadsGroup
        return csupervisor_spawn(&program)
      }
    }
  }

  /// Our environment to the byte, but for what is replaced.
  private var inheritedVariables: [UnsafePointer<CChar>?] {
    var inherited: [UnsafePointer<CChar>?] = []
    var entry = environ
    while let variable = entry.pointee {
      let isReplaced = variables.contains {
        strncmp(variable, "\($0.name)=", $0.name.utf8.count + 1) == 0
      }
      if !isReplaced { inherited.append(UnsafePointer(variable)) }
      entry += 1
    }
    return inherited
  }
}
