// A worker that never ends: publishes a numbered result for one of its USERS after the other, and prints which of
// them Redis has taken. One whose answer was lost may have been published or not, so no number is tried twice. SOCKET
// is Redis' Unix socket.
'use strict'
const { createClient } = require('redis')

const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds))

const main = async () => {
  const users = process.env.USERS.split(',')
  const client = createClient({ socket: { path: process.env.SOCKET, reconnectStrategy: () => 50 } })
  // Without a listener an outage would end the process.
  client.on('error', () => {})
  await client.connect()
  for (let number = 1; ; number++) {
    const user = users[Math.floor(Math.random() * users.length)]
    try {
      await client.publish(`JOB:${user}:soak`, `${number}`)
      console.log(user, number)
    } catch (error) {
      // The outage ends.
    }
    await pause(4)
  }
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
