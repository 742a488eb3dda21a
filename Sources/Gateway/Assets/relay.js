// Connects a page to `paasbus serve --relay`, and again whenever the connection is lost; what was missed meanwhile
// comes as well, each message once and in order.
//
//   const relay = new Relay('/relay')
//   relay.onmessage = (data, job, id) => { ... }
//   relay.ongap = why => { ... }          // messages may be missing: ask the app for the state
'use strict'
class Relay {
  constructor(path = '/relay', { since, silence = 60000 } = {}) {
    this.url = new URL(path, location.href)
    this.url.protocol = this.url.protocol.replace('http', 'ws')
    this.since = since
    this.silence = silence
    this.delay = 250
    this.ended = 0
    this.connect()
  }

  connect() {
    const url = new URL(this.url)
    if (this.since !== undefined) url.searchParams.set('since', this.since)
    const socket = (this.socket = new WebSocket(url))
    this.listen()
    socket.onmessage = event => {
      this.listen()
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
      clearTimeout(this.listening)
      if (this.closed) return
      // A log-in makes a new session, with which it goes on.
      if (event.code === 4401 && this.ended++ > 0) return this.stop(event.code)
      if (event.code === 1008 || event.code === 4429) return this.stop(event.code)
      this.retry(event.code === 1006)
    }
  }

  // A gateway says something every 25 s. Where nothing comes, the connection is dead, for example because a laptop
  // slept, and neither side can tell the other.
  listen() {
    clearTimeout(this.listening)
    this.listening = setTimeout(() => {
      this.socket.onmessage = this.socket.onclose = null
      this.socket.close()
      this.retry(false)
    }, this.silence)
  }

  async retry(isUnknown) {
    const status = isUnknown ? await this.check() : 0
    if (this.closed) return
    if (status === 401 || status === 403) return this.stop(status)
    this.timer = setTimeout(() => this.connect(), this.delay * (0.5 + Math.random()))
    this.delay = Math.min(this.delay * 2, 15000)
  }

  // A page cannot see why a WebSocket was refused, so it asks.
  async check() {
    const url = new URL(this.url)
    url.protocol = url.protocol.replace('ws', 'http')
    url.pathname += '/check'
    try {
      return (await fetch(url, { credentials: 'include', signal: AbortSignal.timeout(10000) })).status
    } catch {
      return 0
    }
  }

  stop(code) {
    this.closed = true
    if (this.onend) this.onend(code)
  }

  close() {
    this.closed = true
    clearTimeout(this.timer)
    clearTimeout(this.listening)
    this.socket.close()
  }
}
