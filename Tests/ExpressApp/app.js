// An app in the manner of the tutorial: it knows its users by sessions in Redis. SOCKET is Redis' Unix socket,
// SECRETS the secrets of the cookies, one a line. It prints where it listens.
'use strict'
const express = require('express')
const { createClient } = require('redis')
const session = require('./session')

const main = async () => {
  const client = createClient({ socket: { path: process.env.SOCKET } })
  client.on('error', error => console.error(String(error)))
  await client.connect()

  const app = express()
  app.use(session({ client, secrets: (process.env.SECRETS || 'keyboard cat').split('\n') }))
  const name = process.env.PAASBUS_INSTANCE_NAME || 'app'
  const user = request => (request.session.user ? request.session.user.id : 'nobody')
  const waiting = []

  app.get('/login', async (request, response) => {
    await request.regenerate()
    request.session.user = { id: request.query.user, name: 'Zoë', token: 'let nobody see it' }
    response.send(`${name}: welcome, ${user(request)}`)
  })
  app.get('/', (request, response) => {
    request.session.views = (request.session.views || 0) + 1
    response.send(`${name}: ${user(request)}, visit ${request.session.views}`)
  })
  app.get('/me', (request, response) => response.send(`${name}: ${user(request)}`))
  app.get('/logout', async (request, response) => {
    await request.logOut()
    response.send(`${name}: good bye`)
  })
  // The relay's five lines; `relays` are the gateways, of which the page takes the first that answers.
  app.get('/page', (request, response) => {
    const { relay, silence = 60000 } = request.query
    response.send(`<!doctype html><title>Jobs</title><p id="user">${user(request)}</p><ul id="jobs"></ul>
      <p id="state"></p><script src="${relay}.js"></script><script>
        const add = text => document.querySelector('#jobs').insertAdjacentHTML('beforeend', '<li>' + text)
        const relay = new Relay('${relay}', { since: sessionStorage.since, silence: ${Number(silence)} })
        relay.onmessage = (data, job, id) => { add(job + ': ' + data); sessionStorage.since = id }
        relay.onopen = hello => {
          sessionStorage.since = sessionStorage.since || hello.pos
          document.querySelector('#state').textContent = 'connected'
        }
        relay.ongap = why => add('gap: ' + why)
        relay.onend = code => { document.querySelector('#state').textContent = 'ended ' + code }
      </script>`)
  })
  app.get('/job', async (request, response) => {
    await client.lPush('jobs', JSON.stringify({ user: user(request), job: request.query.job }))
    response.send('started')
  })
  // Ends when /finish is asked for, and then saves what it has read at its beginning.
  app.get('/slow', (request, response) => {
    waiting.push(() => {
      request.session.slow = (request.session.slow || 0) + 1
      response.send(`${name}: ${user(request)}, done`)
    })
  })
  app.get('/waiting', (request, response) => response.send(String(waiting.length)))
  app.get('/finish', (request, response) => {
    for (const finish of waiting.splice(0)) finish()
    response.send('finished')
  })

  const server = app.listen(Number(process.env.PORT || 0), '127.0.0.1', () => {
    console.log(`listening at ${server.address().port}`)
  })
  process.on('SIGTERM', () => {
    server.close(async () => {
      await client.quit()
      process.exit(0)
    })
    server.closeIdleConnections()
  })
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
