// A worker in the manner of the tutorial: takes jobs from a list and publishes what becomes of them on
// JOB:USER:JOB. It knows nothing of who listens. SOCKET is Redis' Unix socket.
'use strict'
const { createClient } = require('redis')

const main = async () => {
  const client = createClient({ socket: { path: process.env.SOCKET } })
  const publisher = client.duplicate()
  await client.connect()
  await publisher.connect()
  console.log('working')
  while (true) {
    const { element } = await client.brPop('jobs', 0)
    const { user, job } = JSON.parse(element)
    await publisher.publish(`JOB:${user}:${job}`, `result of ${job}`)
  }
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
