// A worker that never ends: publishes a numbered result for one of its USERS after the other, and prints which of
// them Redis has taken. SOCKET is Redis' Unix socket.
'use strict'
const { createClient } = require('redis')

const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds))

const main = async () => {
  const users = process.env.USERS.split(',')
  const numbers = Object.fromEntries(users.map(user => [user, 0]))
  const client = createClient({ socket: { path: process.env.SOCKET, reconnectStrategy: () => 50 } })
  // Without a listener an outage would end the process.
  client.on('error', () => {})
  await client.connect()
  while (true) {
    const user = users[Math.floor(Math.random() * users.length)]
    try {
      await client.publish(`JOB:${user}:soak`, `${numbers[user] + 1}`)
      console.log(user, ++numbers[user])
    } catch (error) {
      // It may have been published or not; the same number comes again.
    }
    await pause(4)
  }
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
