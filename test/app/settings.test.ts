import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readSettings, type SettingSources, variableOf } from '../../src/lib/app/setting-sources.js'
import { checkSettings, DEFAULTS, type Settings } from '../../src/lib/app/settings.js'
import { ConfigurationError } from '../../src/lib/task/errors.js'

/** A folder with files in it, gone after the test. */
async function folderWith(files: Readonly<Record<string, string>> = {}): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'taskledger-test-'))
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(path, name, '..'), { recursive: true })
    await writeFile(join(path, name), text)
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

const read = (sources: SettingSources): Promise<Settings> => readSettings({ env: {}, ...sources })

const refused = (expected: RegExp) => (error: Error) => error instanceof ConfigurationError && expected.test(error.message)

/** A value for each setting that is not its default, as code and as a variable. */
const OTHER: { readonly [K in keyof Settings]: readonly [Settings[K], string] } = {
  database: ['sqlite:/x.db', 'sqlite:/x.db'],
  broker: ['amqps://me:secret@host:5671/vhost', 'amqps://me:secret@host:5671/vhost'],
  app: ['app.js', 'app.js'],
  defaultQueue: ['7', '7'],
  routes: [{ 'mail.*': 'mail' }, '{"mail.*":"mail"}'],
  trackPublish: [false, 'false'],
  scheduleEta: [false, 'false'],
  forceJson: [true, 'true'],
  allowErrorCbOnChordHeader: [true, 'true'],
  resultExpires: [null, 'null'],
  redact: [['kwargs.token'], '["kwargs.token"]'],
  celeryResults: ['redis://localhost:6379/1', 'redis://localhost:6379/1'],
  lease: [1.5, '1.5'],
  concurrency: [3, '3'],
  prefetchMultiplier: [1, '1'],
  queueArguments: [{ mail: { 'x-max-priority': 10 } }, '{"mail":{"x-max-priority":10}}'],
  maxDeliveries: [2, '2'],
  shutdownTimeout: [0, '0'],
  maxRetries: [null, 'null'],
  defaultRetryDelay: [1.5, '1.5'],
  retryBackoff: [2, '2'],
  retryBackoffMax: [9, '9'],
  retryJitter: [false, 'false'],
  acksLate: [true, 'true'],
  acksOnFailureOrTimeout: [false, 'false'],
  rejectOnWorkerLost: [true, 'true'],
  onWorkerLost: ['fail', 'fail'],
  softTimeLimit: [1, '1'],
  timeLimit: [2, '2'],
  trackStarted: [false, 'false'],
  ignoreResult: [true, 'true'],
  storeErrorsEvenIfIgnored: [true, 'true'],
  rateLimit: ['10/m', '10/m'],
}

describe('a setting', () => {
  for (const setting of Object.keys(DEFAULTS) as (keyof Settings)[]) {
    it(`named ${setting} can be given in code and as ${variableOf(setting)}, and else has its default`, async () => {
      await using folder = await folderWith()
      const [value, text] = OTHER[setting]
      assert.deepEqual((await read({ cwd: folder.path }))[setting], DEFAULTS[setting])
      assert.deepEqual((await read({ cwd: folder.path, code: { [setting]: value } }))[setting], value)
      assert.deepEqual((await read({ cwd: folder.path, env: { [variableOf(setting)]: text } }))[setting], value)
    })
  }

  it("is the flag's, else the environment's, else the code's, else the file's", async () => {
    await using folder = await folderWith({ 'taskledger.config.json': '{"defaultQueue":"file"}' })
    const layers = [
      { flags: { defaultQueue: 'flag' } },
      { env: { TASKLEDGER_DEFAULT_QUEUE: 'environment' } },
      { code: { defaultQueue: 'code' } },
    ]
    const found: string[] = []
    for (let i = 0; i <= layers.length; i++) {
      found.push((await read({ cwd: folder.path, ...Object.assign({}, ...layers.slice(i)) })).defaultQueue)
    }
    assert.deepEqual(found, ['flag', 'environment', 'code', 'file'])
  })

  it('that is an empty variable counts as not given', async () => {
    await using folder = await folderWith()
    assert.equal((await read({ cwd: folder.path, env: { TASKLEDGER_DATABASE: '' } })).database, DEFAULTS.database)
  })

  const unknown = (expected: RegExp, hint: RegExp) => (error: ConfigurationError) => {
    assert.match(error.hint ?? '', hint)
    return refused(expected)(error)
  }

  it('that is unknown is refused with its name, and the one that was meant or those there are', async () => {
    await using folder = await folderWith({ 'taskledger.config.json': '{"databse":"sqlite:x.db"}' })
    const named = unknown(/taskledger\.config\.json: there is no setting named databse$/, /^did you mean database\?$/)
    await assert.rejects(read({ cwd: folder.path }), named)
    const far = unknown(/^createApp: there is no setting named colour$/, /^the settings are database, broker, .*, concurrency, /)
    assert.throws(() => checkSettings({ colour: 'x' }, 'createApp'), far)
  })

  it('that is an unknown variable is refused likewise, unless it is empty', async () => {
    await using folder = await folderWith()
    const rejected = (variable: string, hint: RegExp) => {
      const expected = unknown(new RegExp(`^the environment: there is no setting named ${variable}$`), hint)
      return assert.rejects(read({ cwd: folder.path, env: { PATH: '/bin', TASKLEDGER_LEASE: '5', [variable]: 'x' } }), expected, variable)
    }
    await rejected('TASKLEDGER_DATABSE', /^did you mean TASKLEDGER_DATABASE\?$/)
    await rejected('TASKLEDGER_DEFAULTQUEUE', /^did you mean TASKLEDGER_DEFAULT_QUEUE\?$/)
    await rejected('TASKLEDGER_COLOUR', /^after TASKLEDGER_ comes one of DATABASE, BROKER, .*, CONCURRENCY, /)
    await rejected('TASKLEDGER_', /^after TASKLEDGER_ comes one of /)
    assert.equal((await read({ cwd: folder.path, env: { TASKLEDGER_COLOUR: '', TASKLEDGERS: 'x' } })).lease, DEFAULTS.lease)
  })

  it('of the wrong type is refused with its name, what was expected, what came and where it stands', async () => {
    await using folder = await folderWith()
    const wrong: readonly (readonly [string, string, RegExp])[] = [
      ['TASKLEDGER_CONCURRENCY', 'many', /^TASKLEDGER_CONCURRENCY: concurrency: expected a whole number, at least 1, got: "many"$/],
      ['TASKLEDGER_CONCURRENCY', '0', /^TASKLEDGER_CONCURRENCY: concurrency: expected a whole number, at least 1, got: 0$/],
      ['TASKLEDGER_TRACK_PUBLISH', 'yes', /trackPublish: expected true or false, got: "yes"$/],
      ['TASKLEDGER_LEASE', '-1', /lease: expected a number of seconds, at least 0\.1, at most 2147483, got: -1$/],
      ['TASKLEDGER_LEASE', '2147484', / lease: expected a number of seconds, at least 0\.1, at most 2147483, got: 2147484$/],
      [
        'TASKLEDGER_SHUTDOWN_TIMEOUT',
        '2147484',
        / shutdownTimeout: expected a number of seconds, 0 or more, at most 2147483, got: 2147484$/,
      ],
      [
        'TASKLEDGER_TIME_LIMIT',
        '2147484',
        / timeLimit: expected a number of seconds above 0, at most 2147483, or null for no limit, got: 2147484$/,
      ],
      [
        'TASKLEDGER_SOFT_TIME_LIMIT',
        '1e9',
        / softTimeLimit: expected a number of seconds above 0, at most 2147483, or null .*, got: 1000000000$/,
      ],
      ['TASKLEDGER_BROKER', 'redis://me:secret@x', /broker: expected sql:, or a URL such as amqp:\/\/localhost, got: "redis:\/\/…@x"$/],
      ['TASKLEDGER_BROKER', 'amqp:', /broker: expected sql:, or .*, got: "amqp:"$/],
      ['TASKLEDGER_BROKER', 'amqp://me:secret@x:port', /broker: expected sql:, or .*, got: "amqp:\/\/…@x:port"$/],
      ['TASKLEDGER_QUEUE_ARGUMENTS', '{"mail":3}', / queueArguments\.mail: expected queues and the arguments of each, .*, got: 3$/],
      [
        'TASKLEDGER_CELERY_RESULTS',
        'mysql://me:secret@x',
        /celeryResults: expected a URL such as redis:\/\/localhost:6379\/0, django, or null for none, got: "mysql:\/\/…@x"$/,
      ],
      ['TASKLEDGER_REDACT', '[1]', /redact\.0: expected a list of paths such as \["kwargs\.token"\], got: 1$/],
      ['TASKLEDGER_ROUTES', '{"a":1}', /routes\.a: expected task names or globs, and where each goes, .*, got: 1$/],
      ['TASKLEDGER_ROUTES', '{"a":{"routingKey":"k"}}', /routes\.a: expected task names or globs, .*, got: \{"routingKey":"k"\}$/],
      [
        'TASKLEDGER_ROUTES',
        '{"a":{"exchange":"x","queue":"q"}}',
        /routes\.a: expected task names or globs, .*, got: \{"exchange":"x","queue":"q"\}$/,
      ],
    ]
    for (const [variable, text, expected] of wrong) {
      await assert.rejects(read({ cwd: folder.path, env: { [variable]: text } }), refused(expected), variable)
    }
    for (const no of [null, [], 3, 'x'])
      assert.throws(() => checkSettings(no, 'createApp'), refused(/^createApp: expected an object of settings, got: (null|\[\]|3|"x")$/))
  })
})

describe('a configuration file', () => {
  it('is a module or JSON, in the working directory or the nearest folder above it', async () => {
    await using folder = await folderWith({
      'json/taskledger.config.json': '{"concurrency":2}',
      'mjs/taskledger.config.mjs': 'export default { concurrency: 3 }',
      'js/package.json': '{"type":"module"}',
      'js/taskledger.config.js': 'export default { concurrency: 4 }',
      'json/deep/er/x': '',
      'none/x': '',
    })
    const found: number[] = []
    for (const cwd of ['json', 'mjs', 'js', 'json/deep/er', 'none']) found.push((await read({ cwd: join(folder.path, cwd) })).concurrency)
    assert.deepEqual(found, [2, 3, 4, 2, DEFAULTS.concurrency])
  })

  it('that is named is read wherever it lies, and must be there', async () => {
    await using folder = await folderWith({ 'my.json': '{"concurrency":2}', 'taskledger.config.json': '{"concurrency":9}' })
    assert.equal((await read({ cwd: folder.path, configFile: 'my.json' })).concurrency, 2)
    await assert.rejects(read({ cwd: folder.path, configFile: 'no.json' }), refused(/^the configuration file .*no\.json cannot be read: /))
  })

  it('counts relative paths from its own folder', async () => {
    await using folder = await folderWith({ 'taskledger.config.json': '{"database":"sqlite:data/l.db","app":"./app.js"}', 'a/b/x': '' })
    const { database, app } = await read({ cwd: join(folder.path, 'a/b') })
    assert.deepEqual([database, app], [`sqlite:${folder.path}/data/l.db`, `${folder.path}/app.js`])
    await writeFile(join(folder.path, 'taskledger.config.json'), '{"database":"sqlite::memory:"}')
    assert.equal((await read({ cwd: folder.path })).database, 'sqlite::memory:')
  })

  for (const [name, text] of [
    ['taskledger.config.json', '{"concurrency": 2,,}'],
    ['taskledger.config.mjs', 'export default { concurrency: '],
    ['taskledger.config.js', 'throw new Error("no")'],
  ] as const) {
    it(`with a fault in it (${name}) is refused with its name and what to do`, async () => {
      await using folder = await folderWith({ [name]: text })
      await assert.rejects(read({ cwd: folder.path }), (error: ConfigurationError) => {
        return (
          refused(/^the configuration file /)(error) &&
          error.message.includes(name) &&
          error.hint === 'correct the file, or name another with --config'
        )
      })
    })
  }
})
