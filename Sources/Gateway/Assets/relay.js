// Connects a page to `paasbus serve --relay`, and again whenever the connection is lost; what was missed meanwhile
// comes as well, each message once and in order.
//
//   const relay = new Relay('/relay')
//   relay.onmessage = (data, job, id) => { ... }
//   relay.ongap = why => { ... }          // messages may be missing: ask the app for the state
'use strict'
class Relay {
  constructor(path = '/relay', { since } = {}) {
    this.url = new URL(path, location.href)
    this.url.protocol = this.url.protocol.replace('http', 'ws')
    this.since = since
    this.delay = 250
    this.ended = 0
    this.connect()
  }

  connect() {
    const url = new URL(this.url)
    if (this.since !== undefined) url.searchParams.set('since', this.since)
    const socket = (this.socket = new WebSocket(url))
    socket.onmessage = event => {
      const message = JSON.parse(event.data)
      if (message.t === 'hello') {
        this.delay = 250
        this.ended = 0
        if (this.since === undefined) this.since = message.pos
        if (this.onopen) this.onopen(message)
      } else if (message.t === 'msg') {
        this.since = message.id
        const data = 'b64' in message ? Uint8Array.from(atob(message.b64), c => c.charCodeAt(0)) : message.data
        if (this.onmessage) this.onmessage(data, message.job, message.id)
      } else if (message.t === 'gap') {
        this.since = message.to
        if (this.ongap) this.ongap(message.why)
      } else if (message.t === 'pos') {
        this.since = message.pos
      }
    }
    socket.onclose = event => {
      if (this.closed) return
      // A log-in makes a new session, with which it goes on.
      if (event.code === 4401 && this.ended++ > 0) return this.stop(event.code)
      if (event.code === 1008 || event.code === 4429) return this.stop(event.code)
      this.retry(event.code === 1006)
    }
  }

  // A page cannot see why a WebSocket was refused, so it asks.
  async retry(isUnknown) {
    const check = new URL(this.url)
    check.protocol = check.protocol.replace('ws', 'http')
    check.pathname += '/check'
    const answer = isUnknown && (await fetch(check, { credentials: 'include' }).catch(() => null))
    if (this.closed) return
    if (answer && [401, 403].includes(answer.status)) return this.stop(answer.status)
    this.timer = setTimeout(() => this.connect(), this.delay * (0.5 + Math.random()))
    this.delay = Math.min(this.delay * 2, 15000)
  }

  stop(code) {
    this.closed = true
    if (this.onend) this.onend(code)
  }

  close() {
    this.closed = true
    clearTimeout(this.timer)
    this.socket.close()
  }
}
