import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fromCelery } from '../../src/lib/canvas/celery-form.js'
import { isJsonObject, type Json, type JsonObject } from '../../src/lib/task/json.js'
import type { TaskMessage } from '../../src/lib/task/message.js'
import type { Canvas } from '../../src/lib/task/signature.js'
import { ROOT } from './run.js'

/** A message as the client published it. */
export interface Published {
  readonly headers: JsonObject
  readonly properties: JsonObject
  readonly body: readonly [args: readonly Json[], kwargs: JsonObject, embed: JsonObject]
}

export interface Answer {
  readonly messages: readonly Published[]
  readonly [name: string]: unknown
}

export interface Handle {
  readonly id: string
  /** Of a chord: the group of its header. */
  readonly parent: string | null
  readonly members: readonly string[]
  readonly messages: readonly Published[]
}

/** What `.get()` came to. */
export interface Got {
  readonly value?: Json
  readonly raised?: string
  readonly module?: string
  readonly args?: readonly string[]
}

/** A Python program that is a client of Celery's: test/fixtures/celery/client.py. */
export class CeleryClient implements AsyncDisposable {
  private readonly waiting: ((line: string) => void)[] = []
  private readonly stderr: string[] = []

  private constructor(private readonly child: ChildProcess) {
    if (child.stdout) createInterface(child.stdout).on('line', (line) => this.waiting.shift()?.(line))
    if (child.stderr) createInterface(child.stderr).on('line', (line) => this.stderr.push(line))
    child.once('close', () => {
      for (const answer of this.waiting.splice(0)) answer('{"broken":"the client has ended"}')
    })
  }

  static open(backend: string, ...more: readonly string[]): CeleryClient {
    const args = ['test/fixtures/celery/client.py', backend, ...more]
    return new CeleryClient(spawn('/usr/bin/python3', args, { cwd: ROOT, stdio: ['pipe', 'pipe', 'pipe'] }))
  }

  /** Evaluates a call of Celery's, such as `add.delay(2, 2)`. */
  async send(call: string): Promise<Handle> {
    return (await this.ask({ do: 'send', call })) as unknown as Handle
  }

  async get(id: string): Promise<Got> {
    const { messages: _, ...got } = await this.ask({ do: 'get', id })
    return got
  }

  /** @returns what else was published while the client was asked */
  async ask(command: JsonObject): Promise<Answer> {
    const line = await new Promise<string>((resolve) => {
      this.waiting.push(resolve)
      this.child.stdin?.write(`${JSON.stringify(command)}\n`)
    })
    const answer = JSON.parse(line) as Answer
    assert.equal(answer['broken'], undefined, this.stderr.join('\n'))
    return answer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('close', resolve))
    this.child.kill('SIGKILL')
    await ended
  }
}

const canvases = (list: Json | undefined): readonly Canvas[] => (Array.isArray(list) ? list.map((one) => fromCelery(one)) : [])

/** The task message that a Node worker makes of what the client published. */
export function messageFrom({ headers, properties, body: [args, kwargs, embed] }: Published, now: number): TaskMessage {
  const { id, task, group, group_index: index, root_id: root, parent_id: parent } = headers
  const link = canvases(embed['callbacks'])
  const linkError = canvases(embed['errbacks'])
  const chain = [...canvases(embed['chain'])].reverse()
  const { chord } = embed
  return {
    id: String(id),
    task: String(task),
    args,
    kwargs,
    queue: 'default',
    exchange: '',
    routingKey: 'default',
    priority: 0,
    eta: null,
    expires: null,
    retries: 0,
    parentId: typeof parent === 'string' ? parent : null,
    rootId: String(root),
    groupId: typeof group === 'string' ? group : null,
    groupIndex: typeof index === 'number' ? index : null,
    retryOf: null,
    periodicName: null,
    options: {
      ...(link.length > 0 ? { link } : {}),
      ...(linkError.length > 0 ? { linkError } : {}),
      ...(chain.length > 0 ? { chain } : {}),
      ...(headers['ignore_result'] === true ? { ignoreResult: true } : {}),
      celery: { reply_to: String(properties['reply_to']), ...(isJsonObject(chord) ? { chord } : {}) },
    },
    submittedAt: now,
  }
}
