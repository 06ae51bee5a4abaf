import type { ChainableCommander, Redis } from 'ioredis'
import { ConfigurationError } from '../task/errors.js'
import { type ChordEnd, chordEnd, leafIds, type MemberEnd, unreadable } from './chord.js'
import { type CeleryEnd, isReady, metaOf, tupleOf } from './result-form.js'
import type { OutsideStore } from './store.js'

/** How long Redis may take for a command. A result that could not be stored is stored later. */
const COMMAND_TIMEOUT_MS = 5000

/** The longest pause before the next try to connect. */
const LONGEST_PAUSE_MS = 2000

const taskKey = (taskId: string): string => `celery-task-meta-${taskId}`
const groupKey = (groupId: string): string => `celery-taskset-meta-${groupId}`

/** Celery's `redis://` result backend: its keys, its channels, and its count of a chord's members, which Python workers share. */
export class RedisStore implements OutsideStore {
  readonly kind = 'outside'
  readonly counts = true

  private constructor(
    private readonly client: Redis,
    private readonly expires: number | null,
  ) {}

  /**
   * Connects when it is first used.
   *
   * @param expires seconds a result is kept; null: for ever
   * @throws {ConfigurationError} when the package `ioredis` is not installed
   */
  static async open(url: string, expires: number | null): Promise<RedisStore> {
    const { Redis } = await import('ioredis').catch((cause: unknown) => {
      throw new ConfigurationError('celeryResults: a redis: URL needs the package ioredis, which is not installed', {
        cause,
        hint: 'npm install ioredis',
      })
    })
    const client = new Redis(url, {
      lazyConnect: true,
      maxRetriesPerRequest: 1,
      commandTimeout: COMMAND_TIMEOUT_MS,
      connectTimeout: COMMAND_TIMEOUT_MS,
      retryStrategy: (times) => Math.min(times * 100, LONGEST_PAUSE_MS),
    })
    client.on('error', () => {}) // the command that failed tells it
    return new RedisStore(client, expires === null ? null : Math.max(1, Math.ceil(expires)))
  }

  takes(): boolean {
    return true
  }

  async store(end: CeleryEnd): Promise<ChordEnd | null> {
    if (end.kept) await this.storeResult(end)
    return end.chord && end.groupId !== null ? this.count(end, end.groupId) : null
  }

  async release(groupId: string): Promise<void> {
    await this.client.del(...counters(groupId))
  }

  async close(): Promise<void> {
    this.client.disconnect()
  }

  /** As Celery does, a stored success is never overwritten; nor is an end by a retry that was told late. */
  private async storeResult(end: CeleryEnd): Promise<void> {
    const key = taskKey(end.taskId)
    const before = statusIn(await this.client.get(key))
    if (before === 'SUCCESS' || (end.status === 'RETRY' && isReady(before))) return
    const text = JSON.stringify(metaOf(end))
    const commands = this.client.multi()
    if (this.expires === null) commands.set(key, text)
    else commands.setex(key, this.expires, text)
    commands.publish(key, text) // who asked before waits for this and does not ask again
    await executed(commands)
  }

  /** The same member again is no second one: its part is the same text. */
  private async count(end: CeleryEnd, groupId: string): Promise<ChordEnd | null> {
    const [parts, added, size] = counters(groupId)
    const part = JSON.stringify([1, end.taskId, end.status, end.result])
    const commands = this.client
      .multi()
      .zadd(parts, String(end.groupIndex ?? '+inf'), part)
      .zcount(parts, '-inf', '+inf')
      .get(added)
      .get(size)
    if (this.expires !== null) for (const key of [parts, added, size]) commands.expire(key, this.expires)
    const [, counted, more, whole] = await executed(commands)
    if (whole === null || counted !== Number(whole) + Number(more ?? 0)) return null
    const group = await this.client.get(groupKey(groupId))
    try {
      return await (group === null ? this.endOfParts(parts) : this.endOfTree(membersIn(group)))
    } catch (error) {
      if (error instanceof SyntaxError) return unreadable(groupId)
      throw error
    }
  }

  private async endOfParts(key: string): Promise<ChordEnd> {
    const parts = (await this.client.zrange(key, '0', '-1')).map(partOf)
    const ends = new Map(parts)
    return chordEnd(
      parts.map(([taskId]) => tupleOf(taskId)),
      (taskId) => ends.get(taskId) ?? null,
    )
  }

  /** Celery saves a header that has groups in it: the body takes their results in the same shape. */
  private async endOfTree(members: unknown): Promise<ChordEnd> {
    const ids = leafIds(members)
    const metas = await this.client.mget(ids.map(taskKey))
    return chordEnd(members, (taskId) => readMeta(metas[ids.indexOf(taskId)] ?? null))
  }
}

/** Where Celery keeps a chord's parts, how many were added to its header, and how many it had. */
const counters = (groupId: string) => [`${groupKey(groupId)}.j`, `${groupKey(groupId)}.t`, `${groupKey(groupId)}.s`] as const

async function executed(commands: ChainableCommander): Promise<unknown[]> {
  const answers = (await commands.exec()) ?? []
  for (const [error] of answers) if (error) throw error
  return answers.map(([, answer]) => answer)
}

/** Python may write numbers that JSON does not have: such a result cannot be read here. */
function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function readMeta(text: string | null): MemberEnd | null {
  const meta = text === null ? null : readJson(text)
  return isEnd(meta) ? meta : null
}

const isEnd = (meta: unknown): meta is MemberEnd => typeof meta === 'object' && meta !== null && 'status' in meta

const statusIn = (text: string | null): string => (text === null ? 'PENDING' : (readMeta(text)?.status ?? 'SUCCESS'))

const membersIn = (text: string): unknown => (readJson(text) as { result?: [unknown, unknown] } | null)?.result?.[1]

/** One line of a chord's parts; of one that cannot be read, what can be: whose it is. */
function partOf(text: string): [taskId: string, end: MemberEnd | null] {
  const part = readJson(text)
  if (!Array.isArray(part)) return [/^\[1, ?"([^"]+)"/.exec(text)?.[1] ?? '', null]
  return [String(part[1]), { status: String(part[2]), result: part[3] }]
}
