import { type ChildProcess, fork } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ConfigurationError } from '../../task/errors.js'
import type { Outcome } from '../../task/outcome.js'
import { hardLimitOf } from '../run-task.js'
import { type Job, type Pool, timeLimitExceeded } from './pool.js'
import { type FromChild, received, type ToChild } from './protocol.js'

export interface ProcessPoolSettings {
  readonly processes: number
  /** A file URL or a package name; it exports the app. */
  readonly module: string
  /** What the app's settings are overridden with, as in this process. */
  readonly sources: object
  /** Tasks after which a child is replaced; null: never. */
  readonly maxTasksPerChild: number | null
  /** KiB of memory at which a child is replaced once its task has ended; null: never. */
  readonly maxMemoryPerChild: number | null
}

/** How long a slot waits before it tries again to have a child. */
const REOPEN_MS = 1000

/** How long a body that was told to stop may take to end by itself. */
const STOP_GRACE_MS = 1000

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url))

/** A child process and what it is doing. */
class Slot {
  private job: Job | null = null
  private ended: ((outcome: Outcome) => void) | null = null
  /** Why this process killed the child, if it did and somebody is to be told. */
  private killedFor: Outcome | null = null
  private killed = false
  tasks = 0
  rssKiB: number | null = null

  constructor(
    private readonly process: ChildProcess,
    private readonly report: (error: unknown) => void,
  ) {
    process.on('message', (message: FromChild) => this.hear(message))
    process.on('error', report)
  }

  get exited(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null
  }

  /** Calls `gone` once, after the job under way, if any, has been told of it. */
  onExit(gone: () => void): void {
    this.process.once('exit', (code, signal) => {
      const how = signal ? `signal ${signal}` : `exit code ${code}`
      const error = { type: 'WorkerLostError', message: `the process that ran the task ended early: ${how}`, traceback: null }
      this.ended?.(this.killedFor ?? { kind: 'lost', error })
      gone()
    })
  }

  run(job: Job): Promise<Outcome> {
    this.job = job
    this.tasks += 1
    const seconds = hardLimitOf(job.definition, job.delivery)
    const timer =
      seconds === null ? null : setTimeout(() => this.kill({ kind: 'timed-out', error: timeLimitExceeded(seconds) }), seconds * 1000)
    let grace: NodeJS.Timeout | null = null
    const onStop = () => {
      const { name, message } = job.stop.signal.reason as Error
      this.send({ kind: 'stop', name, message })
      grace = setTimeout(() => this.kill({ kind: 'revoked', reason: message }), STOP_GRACE_MS)
    }
    job.stop.signal.addEventListener('abort', onStop, { once: true })
    return new Promise<Outcome>((resolve) => {
      this.ended = resolve
      this.send({ kind: 'run', delivery: job.delivery })
    }).finally(() => {
      if (timer) clearTimeout(timer)
      if (grace) clearTimeout(grace)
      job.stop.signal.removeEventListener('abort', onStop)
      this.job = null
      this.ended = null
    })
  }

  kill(why: Outcome | null = null): void {
    this.killed = true
    this.killedFor = why
    this.process.kill('SIGKILL')
  }

  /** Lets the child end by itself: it has nothing to do. */
  retire(): void {
    if (this.process.connected) this.process.disconnect()
  }

  send(message: ToChild): void {
    if (this.process.connected) this.process.send(message, (error) => error && this.report(error))
  }

  private hear(message: FromChild): void {
    if (this.killed) return // an answer that crossed the kill: this child is not one to go on with
    if (message.kind === 'outcome') {
      this.rssKiB = message.rssKiB
      this.ended?.(received(message.outcome))
    } else if (message.kind === 'update') {
      const answered = this.job?.update(message.update) ?? Promise.resolve()
      answered.then(
        () => this.send({ kind: 'updated', update: message.n, error: null }),
        ({ name, message: text }: Error) => this.send({ kind: 'updated', update: message.n, error: { name, message: text } }),
      )
    }
  }
}

/**
 * Each body runs in a process of its own, one at a time: right for tasks that compute, and the only place where one can
 * be stopped. A child that dies is replaced at once.
 */
export class ProcessPool implements Pool {
  private readonly idle: Slot[] = []
  private readonly slots = new Set<Slot>()
  private readonly waiting: ((slot: Slot) => void)[] = []
  private readonly closing = new AbortController()

  constructor(
    private readonly settings: ProcessPoolSettings,
    private readonly report: (error: unknown) => void,
  ) {}

  async start(): Promise<void> {
    try {
      await Promise.all(Array.from({ length: this.settings.processes }, () => this.open()))
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async run(job: Job): Promise<Outcome> {
    const slot = await this.take()
    if (job.stop.signal.aborted) {
      this.offer(slot)
      return { kind: 'revoked', reason: (job.stop.signal.reason as Error).message }
    }
    const outcome = await slot.run(job)
    if (!slot.exited) this.giveBack(slot)
    return outcome
  }

  async close(): Promise<void> {
    this.closing.abort()
    const gone = [...this.slots].map((slot) => new Promise<void>((resolve) => slot.onExit(resolve)))
    for (const slot of this.slots) slot.kill()
    await Promise.all(gone)
  }

  private take(): Promise<Slot> {
    const slot = this.idle.pop()
    return slot ? Promise.resolve(slot) : new Promise((resolve) => this.waiting.push(resolve))
  }

  private giveBack(slot: Slot): void {
    const { maxTasksPerChild, maxMemoryPerChild } = this.settings
    const worn =
      (maxTasksPerChild !== null && slot.tasks >= maxTasksPerChild) ||
      (maxMemoryPerChild !== null && slot.rssKiB !== null && slot.rssKiB > maxMemoryPerChild)
    if (worn) slot.retire()
    else this.offer(slot)
  }

  private offer(slot: Slot): void {
    const waiting = this.waiting.shift()
    if (waiting) waiting(slot)
    else this.idle.push(slot)
  }

  /** A child that has imported the app; replaced when it ends, unless the pool closes. */
  private async open(): Promise<void> {
    const { module, sources, maxMemoryPerChild } = this.settings
    const child = fork(CHILD, [], { serialization: 'json' })
    const slot = new Slot(child, this.report)
    this.slots.add(slot)
    slot.onExit(() => {
      this.slots.delete(slot)
      const at = this.idle.indexOf(slot)
      if (at >= 0) this.idle.splice(at, 1)
    })
    slot.send({ kind: 'load', module, sources, weigh: maxMemoryPerChild !== null })
    await loaded(child, module)
    slot.onExit(() => {
      void this.replace()
    })
    this.offer(slot)
  }

  /** A slot is never lost: an app that cannot be imported now, perhaps because it is just being deployed, is tried again. */
  private async replace(): Promise<void> {
    while (!this.closing.signal.aborted) {
      try {
        return await this.open()
      } catch (error) {
        if (this.closing.signal.aborted) return
        this.report(error)
        await sleep(REOPEN_MS, undefined, { signal: this.closing.signal }).catch(() => {}) // rejects only when aborted
      }
    }
  }
}

/** @throws {ConfigurationError} when the child cannot import the app */
function loaded(child: ChildProcess, module: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (why: string) => reject(new ConfigurationError(`a process of the pool cannot import the app module ${module}: ${why}`))
    const onExit = (code: number | null, signal: NodeJS.Signals | null) => refuse(`it ended with ${signal ?? `exit code ${code}`}`)
    child.once('exit', onExit)
    const onMessage = (message: FromChild) => {
      if (message.kind !== 'ready' && message.kind !== 'failed-to-load') return
      child.off('exit', onExit)
      child.off('message', onMessage)
      if (message.kind === 'ready') return resolve()
      refuse(message.message)
      child.kill('SIGKILL')
    }
    child.on('message', onMessage)
  })
}
