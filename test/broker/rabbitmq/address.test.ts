import assert from 'node:assert/strict'
import { RabbitBroker } from '../../../src/lib/broker/rabbitmq/rabbitmq-broker.js'
import { UnavailableError } from '../../../src/lib/task/errors.js'
import { openRabbit } from '../../helpers/rabbitmq.js'
import { aMessage } from '../../helpers/rows.js'
import { runProgram } from '../../helpers/run.js'
import { needs } from '../../helpers/services.js'
import { RABBITMQ } from '../../helpers/vhost.js'

/** What comes of publishing there. */
async function publishing(url: string): Promise<Error | null> {
  await using rabbit = await openRabbit()
  const queue = rabbit.queue('default')
  const broker = new RabbitBroker({ url, prefetchMultiplier: 4, queueArguments: {} }, () => {})
  try {
    await broker.publish([aMessage({ queue, routingKey: queue })])
    return null
  } catch (error) {
    return error as Error
  } finally {
    await broker.close()
  }
}

describe('the address of a broker at RabbitMQ', () => {
  before(function () {
    return needs(this, 'RabbitMQ')
  })

  it('names the vhost as Celery does', async () => {
    for (const path of ['', '/', '/%2F', '//', '/%2F?heartbeat=5']) assert.equal(await publishing(RABBITMQ + path), null, path)
  })

  for (const [what, url, expected] of [
    ['a wrong password', RABBITMQ.replace(':guest@', ':s3cret@'), /cannot be reached: .*ACCESS_REFUSED/],
    [
      'a vhost that is not there',
      `${RABBITMQ}/nowhere`,
      /^RabbitMQ at amqp:\/\/127\.0\.0\.1:5672\/nowhere cannot be reached: it has no such vhost that this user may use$/,
    ],
    ['no server', 'amqp://me:s3cret@127.0.0.1:1', /^RabbitMQ at amqp:\/\/127\.0\.0\.1:1 cannot be reached: connect ECONNREFUSED/],
    [
      'no TLS',
      RABBITMQ.replace('amqp:', 'amqps:').replace('guest@', 's3cret@'),
      /^RabbitMQ at amqps:\/\/127\.0\.0\.1:5672 cannot be reached: /,
    ],
  ] as const) {
    it(`with ${what} is an error that says so, without the password`, async () => {
      const error = await publishing(url)
      assert.ok(error instanceof UnavailableError)
      assert.match(error.message, expected)
      assert.doesNotMatch(`${error.message} ${error.hint}`, /s3cret/)
    })
  }
})

describe('a broker at RabbitMQ without the package amqplib', () => {
  it('is one error that says what to install', async () => {
    const hidden = `export async function resolve(specifier, context, next) {
      if (specifier !== 'amqplib') return next(specifier, context)
      throw Object.assign(new Error("Cannot find package 'amqplib'"), { code: 'ERR_MODULE_NOT_FOUND' })
    }`
    const program = `import { register } from 'node:module'
      register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hidden)}))
      const { loadAmqplib } = await import('./src/lib/broker/rabbitmq/amqplib.ts')
      await loadAmqplib().catch(({ name, message, hint, exitCode }) => console.log(JSON.stringify({ name, message, hint, exitCode })))`
    const { stdout, stderr } = await runProgram(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program])
    assert.deepEqual(JSON.parse(stdout || stderr), {
      name: 'ConfigurationError',
      message: 'a broker of amqp:// needs the package amqplib, which is not installed',
      hint: 'npm install amqplib',
      exitCode: 78,
    })
  })
})
