// Sessions in Redis, stored as express-session and connect-redis store them: JSON under a prefix and the id, a cookie
// that is signed, a SET where a request changed its session, an EXPIRE where it did not.
'use strict'
const cookie = require('cookie')
const signature = require('cookie-signature')
const onHeaders = require('on-headers')
const uid = require('uid-safe')

module.exports = ({ client, secrets, prefix = 'sess:', name = 'connect.sid', maxAge = 3600000 }) => {
  const age = session => session.cookie.originalMaxAge
  const seconds = session => (age(session) ? Math.ceil(age(session) / 1000) : 86400)
  const refresh = session => {
    session.cookie.expires = age(session) ? new Date(Date.now() + age(session)).toISOString() : null
    return session
  }
  const fresh = () => refresh({ cookie: { originalMaxAge: maxAge, expires: null, httpOnly: true, path: '/' } })
  // The cookie's times change with every request; only what the app keeps counts as a change.
  const content = session => JSON.stringify(session, (key, value) => (key === 'cookie' ? undefined : value))

  const idOf = request => {
    const value = cookie.parse(request.headers.cookie || '')[name]
    if (!value || !value.startsWith('s:')) return
    for (const secret of secrets) {
      const id = signature.unsign(value.slice(2), secret)
      if (id) return id
    }
  }

  return async (request, response, next) => {
    try {
      let id = idOf(request)
      const text = id && (await client.get(prefix + id))
      let stored
      if (text) {
        stored = JSON.parse(text)
        age(stored)
        request.session = refresh(stored)
      } else {
        id = await uid(24)
        request.session = fresh()
      }
      const before = content(request.session)
      request.regenerate = async () => {
        if (text) await client.del(prefix + id)
        id = await uid(24)
        stored = undefined
        request.session = fresh()
      }
      request.logOut = async () => {
        await client.del(prefix + id)
        request.session = undefined
      }
      onHeaders(response, () => {
        if (!request.session || stored || content(request.session) === content(fresh())) return
        const value = 's:' + signature.sign(id, secrets[0])
        response.append('Set-Cookie', cookie.serialize(name, value, { httpOnly: true, path: '/' }))
      })
      const end = response.end
      response.end = (...parts) => {
        const save = async () => {
          const session = request.session
          if (!session) return
          if (content(session) !== (stored ? before : content(fresh()))) {
            await client.set(prefix + id, JSON.stringify(session), { EX: seconds(session) })
          } else if (stored) {
            await client.expire(prefix + id, seconds(session))
          }
        }
        save().then(() => end.apply(response, parts), next)
      }
      next()
    } catch (error) {
      next(error)
    }
  }
}
