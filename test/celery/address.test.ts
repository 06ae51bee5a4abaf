import assert from 'node:assert/strict'
import { parseAddress } from '../../src/lib/celery/address.js'
import { UsageError } from '../../src/lib/task/errors.js'

describe('the URL of Celery’s broker', () => {
  const parts = (url: string) => {
    const { protocol, hostname, port, username, password, vhost } = parseAddress(url)
    return [protocol, hostname, port, username, password, vhost]
  }

  it('is read as Celery reads it', () => {
    assert.deepEqual(parts('amqp://'), ['amqp', 'localhost', 5672, 'guest', 'guest', '/'])
    assert.deepEqual(parts('amqp://rabbit'), ['amqp', 'rabbit', 5672, 'guest', 'guest', '/'])
    assert.deepEqual(parts('pyamqp://rabbit//'), ['amqp', 'rabbit', 5672, 'guest', 'guest', '/'])
    assert.deepEqual(parts('amqps://ada:p%40ss%2F@rabbit:1234/prod'), ['amqps', 'rabbit', 1234, 'ada', 'p@ss/', 'prod'])
    assert.deepEqual(parts('amqp://ada@[::1]/%2Fa'), ['amqp', '::1', 5672, 'ada', '', '/a'])
  })

  it('is shown without user and password', () => {
    assert.equal(parseAddress('amqps://ada:secret@rabbit/prod').shown, 'amqps://rabbit:5671/prod')
    assert.equal(parseAddress('amqp://ada:secret@rabbit//').shown, 'amqp://rabbit:5672/')
  })

  it('is refused, and not repeated, when it is another', () => {
    for (const url of ['', 'rabbit:5672', 'redis://:secret@host', 'amqp://ada:secret@host:port/', 'amqp://ada:sec%ret@host/']) {
      assert.throws(
        () => parseAddress(url),
        (error: Error) => error instanceof UsageError && !/secret|sec%ret/.test(error.message),
        url,
      )
    }
  })
})
