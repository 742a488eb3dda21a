import Foundation

/// A real Chromium, driven as the WebDriver standard says (W3C), by Debian's chromium-driver.
package final class Browser: Sendable {
  private let driver: ManagedProcess
  private let port: Int
  private let session: String

  private init(driver: ManagedProcess, port: Int, session: String) {
    (self.driver, self.port, self.session) = (driver, port, session)
  }

  /// Runs `body` with a browser of 1280 by 800 points.
  package static func with(
    javaScript: Bool = true, _ body: (Browser) async throws -> Void
  ) async throws {
    let folder = URL(filePath: "/tmp/paasbus-browser-\(UUID().uuidString.prefix(12))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    // What the browser keeps for itself goes to the folder too.
    // The driver takes one port for both families, and one that the system chooses can be taken in the other.
    let driver = try ManagedProcess(
      "chromedriver", ["--port=\(try RedisServer.freePort())"],
      environment: ManagedProcess.bareEnvironment.merging(
        ["HOME": folder.path, "TMPDIR": folder.path]) { $1 })
    let port = Mutable(0)
    try await eventually("chromedriver listens: \(driver.errorOutput)") {
      let told = driver.output.ranges(of: "successfully on port ").first?.upperBound
      port.set(told.flatMap { Int(driver.output[$0...].prefix(while: \.isNumber)) } ?? 0)
      return port.get() > 0
    }
    defer {
      driver.signal(SIGTERM)
      driver.waitForEnd()
    }
    var arguments = [
      "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
      "--window-size=1280,800", "--hide-scrollbars", "--user-data-dir=\(folder.path)/profile",
      "--no-first-run", "--disable-background-networking", "--disable-component-update",
    ]
    if !javaScript { arguments.append("--blink-settings=scriptEnabled=false") }
    let capabilities: [String: Any] = [
      "capabilities": [
        "alwaysMatch": [
          "browserName": "chrome", "goog:loggingPrefs": ["browser": "ALL"],
          "goog:chromeOptions": ["args": arguments],
        ]
      ]
    ]
    let answer = try await call(port.get(), "POST", "/session", capabilities)
    guard let session = (answer as? [String: Any])?["sessionId"] as? String else {
      throw Impatience(description: "no browser: \(answer)")
    }
    let browser = Browser(driver: driver, port: port.get(), session: session)
    do {
      // The window itself would be smaller by its own frame.
      try await browser.command(
        "Emulation.setDeviceMetricsOverride",
        ["width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": false])
      try await body(browser)
    } catch {
      _ = try? await browser.call("DELETE", "")
      throw error
    }
    _ = try? await browser.call("DELETE", "")
  }

  // MARK: Protocol

  private static func call(
    _ port: Int, _ method: String, _ path: String, _ body: [String: Any]?
  ) async throws -> Any {
    let socket = try await RawSocket.connect(port: port)
    let data = try body.map { try JSONSerialization.data(withJSONObject: $0) } ?? Data()
    await socket.send(
      "\(method) \(path) HTTP/1.1\r\nHost: localhost:\(port)\r\nConnection: close\r\n"
        + "Content-Type: application/json\r\nContent-Length: \(data.count)\r\n\r\n")
    await socket.send(data)
    let answer = Mutable<HTTPAnswer?>(nil)
    try await eventually("chromedriver answers to \(path): \(socket.text)") {
      answer.set(HTTPAnswer(socket.bytes, isClosed: socket.isClosed))
      return answer.get() != nil
    }
    let object = try JSONSerialization.jsonObject(with: Data(answer.get()?.body ?? []))
    let value = (object as? [String: Any])?["value"] ?? NSNull()
    guard answer.get()?.status == 200 else { throw Impatience(description: "\(path): \(value)") }
    return value
  }

  @discardableResult
  private func call(_ method: String, _ path: String, _ body: [String: Any]? = nil) async throws
    -> Any
  {
    try await Self.call(
      port, method, "/session/\(session)\(path)", body ?? (method == "POST" ? [:] : nil))
  }

  // MARK: What a person does

  package func open(_ url: String) async throws { try await call("POST", "/url", ["url": url]) }

  package var address: String {
    get async throws { try await call("GET", "/url") as? String ?? "" }
  }

  /// Presses keys, in the element that has the focus.
  package func press(_ keys: String) async throws {
    let actions = keys.flatMap { key -> [[String: Any]] in
      ["keyDown", "keyUp"].map { ["type": $0, "value": String(key)] }
    }
    try await call(
      "POST", "/actions", ["actions": [["type": "key", "id": "keys", "actions": actions]]])
  }

  package static let enter = "\u{E007}"
  package static let escape = "\u{E00C}"
  package static let tab = "\u{E004}"

  /// Clicks on the first element that a CSS selector finds.
  package func click(_ selector: String) async throws {
    try await call("POST", "/element/\(try await element(selector))/click")
  }

  private func element(_ selector: String) async throws -> String {
    let found = try await call(
      "POST", "/element", ["using": "css selector", "value": selector])
    return (found as? [String: String])?.values.first ?? ""
  }

  // MARK: What a person sees

  /// The visible text of the first element that a CSS selector finds; empty where there is none.
  package func text(_ selector: String) async throws -> String {
    guard let element = try? await element(selector) else { return "" }
    return try await call("GET", "/element/\(element)/text") as? String ?? ""
  }

  /// How many elements a CSS selector finds.
  package func count(_ selector: String) async throws -> Int {
    let found = try await call(
      "POST", "/elements", ["using": "css selector", "value": selector])
    return (found as? [Any])?.count ?? 0
  }

  /// What a script returns, as text.
  package func evaluate(_ script: String) async throws -> String {
    let value = try await call(
      "POST", "/execute/sync", ["script": "return String(\(script))", "args": [Any]()])
    return value as? String ?? ""
  }

  /// The text of the element that has the focus.
  package var focused: String {
    get async throws { try await evaluate("document.activeElement.textContent") }
  }

  /// What the browser has said on its console since the last look.
  package var messages: [String] {
    get async throws {
      let entries = try await call("POST", "/se/log", ["type": "browser"])
      return (entries as? [[String: Any]])?.compactMap { $0["message"] as? String } ?? []
    }
  }

  /// A picture of the window, in PNG.
  package var picture: Data {
    get async throws {
      Data(base64Encoded: try await call("GET", "/screenshot") as? String ?? "") ?? Data()
    }
  }

  /// Has the system be dark or light.
  package func setDark(_ isDark: Bool) async throws {
    try await command(
      "Emulation.setEmulatedMedia",
      ["features": [["name": "prefers-color-scheme", "value": isDark ? "dark" : "light"]]])
  }

  /// A command of the browser's own protocol.
  private func command(_ name: String, _ parameters: [String: Any]) async throws {
    try await call("POST", "/goog/cdp/execute", ["cmd": name, "params": parameters])
  }

  /// Waits until an element's visible text holds a text.
  package func waitFor(
    _ text: String, in selector: String, within limit: Duration = .seconds(15)
  ) async throws {
    try await waitUntil("'\(text)' in \(selector)", within: limit) {
      try await self.text(selector).contains(text)
    }
  }

  /// Waits until a condition holds; otherwise the error tells what the page shows.
  package func waitUntil(
    _ what: String, within limit: Duration = .seconds(30), _ condition: () async throws -> Bool
  ) async throws {
    do {
      try await eventually(what, within: limit, condition)
    } catch {
      let focus = try await evaluate(
        "document.activeElement.id + ' ' + document.activeElement.value")
      throw Impatience(
        description:
          "\(error): \(try await address), focus \(focus): \(try await self.text("body"))")
    }
  }
}
