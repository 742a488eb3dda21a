import Presence
import Views

/// The lives of instances as a drawing (SVG), a lane each.
struct LivesDrawing {
  /// So many lanes are drawn, those of the instances that changed last.
  private static let maxLanes = 40
  private static let cells = 180
  private static let cellWidth = 5
  private static let laneHeight = 18

  let lives: Lives
  let range: PanelQuery.Range
  let now: Int64
  let query: PanelQuery

  var html: HTML {
    let window = (now - range.length)..<max(now, now - range.length + 1)
    let drawn = lives.latest(Self.maxLanes)
    let lanes = drawn.map { lane($0, window) }.joined()
    let links = PanelQuery.Range.allCases.map { other -> HTML in
      guard other != range else { return "<b aria-current=\"true\">\(other.rawValue)</b> " }
      return "<a href=\"\(query.with { $0.range = other }.link)\">\(other.rawValue)</a> "
    }.joined()
    let note: HTML =
      lives.count > drawn.count
      ? "<p>Showing the \(drawn.count) of \(lives.count) instances that changed last.</p>"
      : drawn.isEmpty ? "<p>No instances in this time.</p>" : ""
    return """
      <section id="lives" aria-label="Lives">
      <h2>Lives <small>\(links)</small></h2>
      \(note)<div class="lanes">\(lanes)\(axis(window))</div>
      </section>
      """
  }

  private func axis(_ window: Range<Int64>) -> HTML {
    let middle = window.lowerBound + (window.upperBound - window.lowerBound) / 2
    let times = [window.lowerBound, middle, window.upperBound].map { PageTime($0).html }
    return """
      <div class="lane axis"><span></span><p>\(times[0])\(times[1])\(times[2])</p></div>

      """
  }

  private func lane(_ life: Lives.Life, _ window: Range<Int64>) -> HTML {
    let lane = Lane(life, window: window, width: Self.cells)
    var drawing: HTML = ""
    var run: (state: InstanceStatus.State, begin: Int)?
    func close(at end: Int) -> HTML {
      guard let open = run else { return "" }
      return
        "<rect class=\"\(open.state.rawValue)\" x=\"\(open.begin * Self.cellWidth)\" y=\"6\" width=\"\((end - open.begin) * Self.cellWidth)\" height=\"6\"/>"
    }
    var marks: HTML = ""
    for (index, cell) in lane.cells.enumerated() {
      switch cell {
      case .state(let state) where run?.state == state: continue
      case .state(let state):
        drawing += close(at: index)
        run = (state, index)
      case .nothing:
        drawing += close(at: index)
        run = nil
      case .change(let type):
        drawing += close(at: index)
        run = nil
        marks +=
          "<text class=\"\(type.rawValue)\" x=\"\(min(index, Self.cells - 2) * Self.cellWidth)\" y=\"14\">\(String(type.symbol))</text>"
      }
    }
    drawing += close(at: lane.cells.count)
    let name = [life.instance.name, life.instance.release].compactMap(\.self)
      .joined(separator: " ")
    let told = life.changes.suffix(5)
      .map { "\($0.type.rawValue) \(Span(milliseconds: max(0, now - $0.at))) ago" }
      .joined(separator: ", ")
    return """
      <div class="lane"><a href="instances/\(life.instance.id.percentEncoded)">\(name)</a>\
      <svg viewBox="0 0 \(Self.cells * Self.cellWidth) \(Self.laneHeight)" \
      preserveAspectRatio="none" role="img" \
      aria-label="\(told.isEmpty ? "up" : told)"><title>\(told.isEmpty ? "up" : told)</title>\
      \(drawing)\(marks)</svg></div>

      """
  }
}
