import * as v from 'valibot'
import { LONGEST_TIME_LIMIT } from '../task/duration.js'
import { ConfigurationError } from '../task/errors.js'
import { ON_WORKER_LOST, SETTABLE_DEFAULTS, type SettableOptions } from '../task/options.js'
import type { Routing } from '../task/routing.js'
import { nearest } from './nearest.js'

const seconds = (least: number) => v.pipe(v.number(), v.finite(), v.minValue(least))
/** What a timer waits for. */
const timer = (least: number) => v.pipe(seconds(least), v.maxValue(LONGEST_TIME_LIMIT))
const timeLimit = timer(0.001)
const count = v.pipe(v.number(), v.integer(), v.minValue(1))
const name = v.pipe(v.string(), v.nonEmpty())
const route = v.union([name, v.strictObject({ queue: name }), v.strictObject({ exchange: name, routingKey: v.optional(v.string()) })])
const isServer = (text: string): boolean => /^amqps?:\/\/[^/]/.test(text) && URL.canParse(text)

/** Every setting: its type here, in words in EXPECTED, its default in DEFAULTS. A duration is in seconds. */
const TYPES = v.strictObject({
  database: v.optional(name),
  broker: v.optional(v.union([v.literal('sql:'), v.pipe(v.string(), v.check(isServer))])),
  app: v.optional(name),
  defaultQueue: v.optional(name),
  routes: v.optional(v.record(v.string(), route)),
  trackPublish: v.optional(v.boolean()),
  scheduleEta: v.optional(v.boolean()),
  forceJson: v.optional(v.boolean()),
  allowErrorCbOnChordHeader: v.optional(v.boolean()),
  resultExpires: v.optional(v.nullable(seconds(0))),
  redact: v.optional(v.array(name)),
  celeryResults: v.optional(v.nullable(v.pipe(v.string(), v.regex(/^(rediss?:\/\/.+|django)$/)))),
  lease: v.optional(timer(0.1)),
  concurrency: v.optional(count),
  prefetchMultiplier: v.optional(count),
  queueArguments: v.optional(v.record(v.string(), v.record(v.string(), v.union([v.string(), v.number(), v.boolean()])))),
  maxDeliveries: v.optional(count),
  shutdownTimeout: v.optional(timer(0)),
  maxRetries: v.optional(v.nullable(v.pipe(v.number(), v.integer(), v.minValue(0)))),
  defaultRetryDelay: v.optional(seconds(0)),
  retryBackoff: v.optional(v.union([v.boolean(), seconds(0)])),
  retryBackoffMax: v.optional(seconds(0)),
  retryJitter: v.optional(v.boolean()),
  acksLate: v.optional(v.boolean()),
  acksOnFailureOrTimeout: v.optional(v.boolean()),
  rejectOnWorkerLost: v.optional(v.boolean()),
  onWorkerLost: v.optional(v.picklist(ON_WORKER_LOST)),
  softTimeLimit: v.optional(v.nullable(timeLimit)),
  timeLimit: v.optional(v.nullable(timeLimit)),
  trackStarted: v.optional(v.boolean()),
  ignoreResult: v.optional(v.boolean()),
  storeErrorsEvenIfIgnored: v.optional(v.boolean()),
  rateLimit: v.optional(v.nullable(name)),
})

const SCHEMA = v.pipe(
  v.unknown(),
  v.check((given) => !Array.isArray(given)), // an empty one would pass for an object
  TYPES,
)

/** What a setting takes, for the person who gave it something else. */
const EXPECTED: Readonly<Record<keyof Settings, string>> = {
  database: 'a URL such as sqlite:taskledger.db',
  broker: 'sql:, or a URL such as amqp://localhost',
  app: 'a module such as ./tasks.mjs',
  defaultQueue: 'the name of a queue',
  routes:
    'task names or globs, and where each goes, as {"mail.*": "mail"} or {"video.*": {"exchange": "media", "routingKey": "video.encode"}}',
  trackPublish: 'true or false',
  scheduleEta: 'true or false',
  forceJson: 'true or false',
  allowErrorCbOnChordHeader: 'true or false',
  resultExpires: 'a number of seconds, or null for ever',
  redact: 'a list of paths such as ["kwargs.token"]',
  celeryResults: 'a URL such as redis://localhost:6379/0, django, or null for none',
  lease: `a number of seconds, at least 0.1, at most ${LONGEST_TIME_LIMIT}`,
  concurrency: 'a whole number, at least 1',
  prefetchMultiplier: 'a whole number, at least 1',
  queueArguments: 'queues and the arguments of each, as {"mail": {"x-max-priority": 10}}',
  maxDeliveries: 'a whole number, at least 1',
  shutdownTimeout: `a number of seconds, 0 or more, at most ${LONGEST_TIME_LIMIT}`,
  maxRetries: 'a whole number, 0 or more, or null for no limit',
  defaultRetryDelay: 'a number of seconds, 0 or more',
  retryBackoff: 'true, false or a number, 0 or more',
  retryBackoffMax: 'a number of seconds, 0 or more',
  retryJitter: 'true or false',
  acksLate: 'true or false',
  acksOnFailureOrTimeout: 'true or false',
  rejectOnWorkerLost: 'true or false',
  onWorkerLost: 'report, fail or retry',
  softTimeLimit: `a number of seconds above 0, at most ${LONGEST_TIME_LIMIT}, or null for no limit`,
  timeLimit: `a number of seconds above 0, at most ${LONGEST_TIME_LIMIT}, or null for no limit`,
  trackStarted: 'true or false',
  ignoreResult: 'true or false',
  storeErrorsEvenIfIgnored: 'true or false',
  rateLimit: 'a rate such as 10/m, or null for none',
}

/** What may be set: in `createApp`, in `taskledger.config.{js,mjs,json}`, or as `TASKLEDGER_…` in the environment. */
export interface Settings extends SettableOptions {
  /** Default: `sqlite:taskledger.db`, relative to the working directory. Also `postgres://USER:PASSWORD@HOST/DATABASE`. */
  readonly database: string
  /** `sql:` (default): messages live in the ledger's own database. Or RabbitMQ, as `amqp://user:password@host/vhost`. */
  readonly broker: string
  /** The module that exports `app`, for commands that run tasks. */
  readonly app: string | null
  /** Default: `default`. */
  readonly defaultQueue: string
  /** Globs on task names, and the queue, or with RabbitMQ the exchange, of each. The first that matches wins. Default: none. */
  readonly routes: Routing['routes']
  /** Whether a row is written when a task is published (default), or only when a worker starts it. */
  readonly trackPublish: boolean
  /** Whether a task with an eta waits as a row (default), or in the broker. */
  readonly scheduleEta: boolean
  /** Whether a result that is not JSON is kept as text instead of failing the task. Default: false. */
  readonly forceJson: boolean
  /** Whether an errback of a chord is also sent for each task of its header that fails, and not for its body alone. Default: false. */
  readonly allowErrorCbOnChordHeader: boolean
  /** Seconds a result is kept after its task ended; null: for ever. Default: a day. */
  readonly resultExpires: number | null
  /** Paths in arguments the ledger must not keep, such as `kwargs.token`. Default: none. */
  readonly redact: readonly string[]
  /** Where Celery's clients look for results: a `redis:` URL, or `django` for the tables of django-celery-results beside the ledger's. Default: none. */
  readonly celeryResults: string | null
  /** Seconds a worker or a delivery may be silent before it counts as lost; renewed at a third of it. Default: 30. */
  readonly lease: number
  /** How many tasks a worker runs at one time. Default: 10. */
  readonly concurrency: number
  /** How many messages of a queue are fetched ahead from RabbitMQ for each task that may run. Default: 4. */
  readonly prefetchMultiplier: number
  /** Arguments of queues in RabbitMQ that are not declared as Celery declares its own. Default: none. */
  readonly queueArguments: Readonly<Record<string, Readonly<Record<string, string | number | boolean>>>>
  /** How often a message is delivered before its task fails as one that kills its workers. Default: 5. */
  readonly maxDeliveries: number
  /** Seconds that running tasks may take to end once a worker is told to stop. Default: 30. */
  readonly shutdownTimeout: number
}

export const DEFAULTS: Settings = {
  database: 'sqlite:taskledger.db',
  broker: 'sql:',
  app: null,
  defaultQueue: 'default',
  routes: {},
  trackPublish: true,
  scheduleEta: true,
  forceJson: false,
  allowErrorCbOnChordHeader: false,
  resultExpires: 86_400,
  redact: [],
  celeryResults: null,
  lease: 30,
  concurrency: 10,
  prefetchMultiplier: 4,
  queueArguments: {},
  maxDeliveries: 5,
  shutdownTimeout: 30,
  ...SETTABLE_DEFAULTS,
}

export const SETTING_NAMES = Object.keys(DEFAULTS) as readonly (keyof Settings)[]

/**
 * The settings in `given`, checked.
 *
 * @param source how a person knows where they came from, for the error
 * @throws {ConfigurationError} for an unknown setting or a wrong type; it names the setting
 */
export function checkSettings(given: unknown, source: string): Partial<Settings> {
  const { success, output, issues } = v.safeParse(SCHEMA, given)
  if (success) return Object.fromEntries(Object.entries(output).filter(([, value]) => value !== undefined)) as Partial<Settings>
  const [issue] = issues
  const path = v.getDotPath(issue)
  if (issue.type === 'strict_object' && issue.expected === 'never' && path !== null) {
    const meant = nearest(path, SETTING_NAMES)
    const hint = meant ? `did you mean ${meant}?` : `the settings are ${SETTING_NAMES.join(', ')}`
    throw new ConfigurationError(`${source}: there is no setting named ${path}`, { hint })
  }
  const setting = SETTING_NAMES.find((known) => known === path?.split('.')[0])
  const expected = setting ? EXPECTED[setting] : 'an object of settings'
  throw new ConfigurationError(`${source}: ${path === null ? '' : `${path}: `}expected ${expected}, got: ${shown(issue.input)}`)
}

/** A value as its owner wrote it, apart from the password in a URL. */
const shown = (value: unknown): string => String(JSON.stringify(value)).replace(/:\/\/[^@"]*@/g, '://…@')
