/// What all pages have in common.
struct PageFrame: Sendable {
  var title: String
  /// From the page to the panel's own folder: empty, or `../`.
  var root = ""
  /// Whether a log-in can be ended here.
  var hasLogout = false
  /// Whether the page stays up to date by itself.
  var isLive = false

  func html(_ main: HTML) -> HTML {
    let refresh: HTML =
      isLive ? "<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>\n" : ""
    let script: HTML =
      isLive ? "<script src=\"\(root)panel.js\" defer></script>\n" : ""
    let logout: HTML =
      hasLogout
      ? "<form class=\"logout\" method=\"post\" action=\"\(root)logout\"><button>Sign out</button></form>\n"
      : ""
    return """
      <!doctype html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta name="color-scheme" content="light dark">
      \(refresh)<title>\(title)</title>
      <link rel="icon" href="\(root)icon.svg" type="image/svg+xml">
      <link rel="stylesheet" href="\(root)panel.css">
      \(script)</head>
      <body>
      \(logout)\(main)
      </body>
      </html>

      """
  }
}

/// Pages that say something in a few words.
enum MessagePage {
  static func html(_ heading: String, _ text: String, remedy: String, root: String = "") -> HTML {
    PageFrame(title: heading, root: root).html(
      """
      <main class="message">
      <h1>\(heading)</h1>
      <p>\(text)</p>
      <p>\(remedy)</p>
      </main>
      """)
  }
}

/// The form for the panel's password.
enum LoginPage {
  static func html(next: String, problem: String?) -> HTML {
    let problem: HTML = problem.map { "<p role=\"alert\" class=\"problem\">\($0)</p>\n" } ?? ""
    return PageFrame(title: "Sign in – paasbus").html(
      """
      <main class="message">
      <h1>Sign in</h1>
      \(problem)<form method="post" action="login">
      <input type="hidden" name="next" value="\(next)">
      <input type="text" name="username" value="panel" autocomplete="username" aria-label="User" hidden>
      <label for="password">Password</label>
      <input id="password" name="password" type="password" autocomplete="current-password" \
      required autofocus>
      <button>Sign in</button>
      </form>
      </main>
      """)
  }
}
