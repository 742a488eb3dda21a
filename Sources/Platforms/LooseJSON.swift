#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// JSON whose structure is only partly known. It also contains entries of other services, and
/// nothing in those may prevent us from reading the entries of Redis.
enum LooseJSON: Decodable, Sendable {
  case text(String)
  case list([LooseJSON])
  case object([String: LooseJSON])
  /// null, a boolean or a fraction, none of which means anything here.
  case other

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let text = try? container.decode(String.self) {
      self = .text(text)
    } else if let number = try? container.decode(Int.self) {
      // Ports may be numbers or text.
      self = .text(String(number))
    } else if let list = try? container.decode([LooseJSON].self) {
      self = .list(list)
    } else if let object = try? container.decode([String: LooseJSON].self) {
      self = .object(object)
    } else {
      self = .other
    }
  }

  /// nil where there is no text or it is empty.
  var text: String? {
    if case .text(let text) = self, !text.isEmpty { text } else { nil }
  }

  var list: [LooseJSON] {
    if case .list(let list) = self { list } else { [] }
  }

  var object: [String: LooseJSON]? {
    if case .object(let object) = self { object } else { nil }
  }

  subscript(name: String) -> LooseJSON {
    object?[name] ?? .other
  }
}
