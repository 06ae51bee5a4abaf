import { type Continuation, continuation, failBody, following, leftByCelery } from '../canvas/continuation.js'
import { freezeInto, leaves, refreeze } from '../canvas/freeze.js'
import { begin, type Launch, type SendContext } from '../canvas/launch.js'
import type { Arrival, Culprit, Settled, TaskEnd } from '../canvas/settle.js'
import type { ChordEnd } from '../celery/chord.js'
import { type CeleryEnd, celeryEnd, type Retrying } from '../celery/result-form.js'
import type { Sql } from '../database/sql.js'
import { isRedacted, type Redaction } from '../ledger/arguments.js'
import { arrive, type ExpiredGroup, endChord, forgetBody, type WaitingChord } from '../ledger/arrivals.js'
import { childrenOf } from '../ledger/find.js'
import { addMembers, findMissing, groupOf, lockGroup, replaceMember, resultsOf } from '../ledger/groups.js'
import { endedMessage, jsonOrText, type TaskRow } from '../ledger/row.js'
import { recordUnbegun } from '../ledger/unbegun.js'
import { newTaskId } from '../task/id.js'
import { type Json, MAX_JSON_BYTES } from '../task/json.js'
import { isPart, type TaskMessage } from '../task/message.js'
import type { ErrorRecord } from '../task/outcome.js'
import type { Routing } from '../task/routing.js'
import type { Canvas } from '../task/signature.js'
import type { CeleryResults } from './celery-results.js'
import type { Publisher } from './publisher.js'

/** What a commit recorded, and what others are still to be handed once it is written. */
export type Unsent =
  /** For a broker that lives elsewhere. */
  | { readonly kind: 'message'; readonly message: TaskMessage }
  /** For Celery's clients, where their results live elsewhere. */
  | { readonly kind: 'end'; readonly end: CeleryEnd }

/** The end of a task that was revoked, or that expired. */
export const revokedFor = (reason: string): TaskEnd => ({ status: 'REVOKED', error: plain('TaskRevokedError', reason) })

/**
 * What makes a workflow go on. Whoever ends the row of a task asks it in the same commit, so that no end is recorded without
 * all that follows from it: the next steps, the callbacks or errbacks, the rows of what will never run, and the groups that
 * heard of it, and, of what a client of Celery's waits for, its result. Every answer is what to give to `send` once the commit is written.
 */
export class Follower {
  constructor(
    private readonly publisher: Publisher,
    private readonly redaction: Redaction,
    private readonly settings: Routing & {
      /** Seconds; null: for ever. */
      readonly resultExpires: number | null
    },
    private readonly now: () => number,
    private readonly results: CeleryResults | null = null,
  ) {}

  /** Whether the end of the task means something to anybody. If not, nothing follows it. */
  isAwaited(message: TaskMessage): boolean {
    return isPart(message) || this.results?.takes(message) === true
  }

  /** What follows the end of a task. `keepsErrors`: the result of a failure is kept even of a task whose result is ignored. */
  async follow(sql: Sql, message: TaskMessage, end: TaskEnd, keepsErrors = false): Promise<Unsent[]> {
    const unsent = await this.followUnended(sql, message, end)
    return [...(await this.keep(sql, message, end, keepsErrors)), ...unsent]
  }

  /**
   * What follows a task that itself goes on: all that was to follow it ends in this way.
   *
   * @param told whether Celery's clients have heard of that
   */
  async followUnended(sql: Sql, message: TaskMessage, end: TaskEnd, told = false): Promise<Unsent[]> {
    if (!isPart(message)) return []
    const next = continuation(message, end, this.place())
    return this.carryOut(sql, countsInCelery(message) ? { ...next, arrival: null } : next, told)
  }

  /** What is to be told of a task that waits for a retry. */
  async retried(sql: Sql, message: TaskMessage, error: ErrorRecord | null): Promise<Unsent[]> {
    return this.keep(sql, message, { status: 'RETRY', error })
  }

  /** The same as `follow`, for one whose message nobody has in hand. */
  async followRow(sql: Sql, row: TaskRow, end: TaskEnd): Promise<Unsent[]> {
    return this.follow(sql, await this.withoutLost(sql, row, endedMessage(row)), end)
  }

  /**
   * The same, for one that a worker of Celery's has ended: what that leaves to others. Its clients are told by Celery, of a failure
   * also those of the later steps.
   *
   * @param calls whether it has called the errbacks, as for what fails in it
   */
  async followCelerys(sql: Sql, row: TaskRow, end: TaskEnd, calls: boolean): Promise<Unsent[]> {
    const message = leftByCelery(endedMessage(row), end, calls)
    return isPart(message) ? this.followUnended(sql, await this.withoutLost(sql, row, message), end, calls) : []
  }

  /** The messages of what follows a task at once when it has succeeded, with null for its result. */
  successors(row: TaskRow): readonly TaskMessage[] {
    return isPart(row) ? following(endedMessage(row), this.place()) : []
  }

  /** An errback whose arguments the row does not hold fails unsent. */
  private async withoutLost(sql: Sql, row: TaskRow, message: TaskMessage): Promise<TaskMessage> {
    const { linkError = [] } = message.options
    const lost = row.options.redacted ? linkError.filter(isRedacted) : []
    if (lost.length === 0) return message
    const context = this.context({ rootId: message.rootId, parentId: message.id, deadline: null })
    for (const { messages } of lost.map((errback) => begin(errback, [], context))) {
      for (const one of messages) await this.recordSettled(sql, { message: one, status: 'FAILURE', error: UNSENDABLE, arrival: null })
    }
    return { ...message, options: { ...message.options, linkError: linkError.filter((errback) => !lost.includes(errback)) } }
  }

  /**
   * Sends what runs in the place of a task: all that would have followed the task is part of it.
   *
   * @param heir the task of `canvas` that has the result the replaced one would have had
   */
  async replace(sql: Sql, message: TaskMessage, canvas: Canvas, heir: string): Promise<Unsent[]> {
    const { id, rootId, groupId, groupIndex, options } = message
    const context = this.context({ rootId, parentId: id, deadline: options.deadline ?? null })
    if (groupId !== null) await replaceMember(sql, groupId, groupIndex ?? 0, heir)
    return this.record(sql, begin(canvas, [], context))
  }

  /** Sends what a task adds to the group it counts in; it counts there after those that are there. */
  async add(sql: Sql, { id, rootId, groupId, options }: TaskMessage, added: readonly Canvas[]): Promise<Unsent[]> {
    const group = groupId === null ? null : await lockGroup(sql, groupId)
    if (!group) return []
    const context = this.context({ rootId, parentId: id, deadline: options.deadline ?? null })
    const unsent: Unsent[][] = []
    let from = group.size
    for (const canvas of added) {
      const frozen = freezeInto(canvas, { groupId: group.groupId, from }, () => context.newId())
      const members = leaves(frozen).map(({ options: { taskId } }) => taskId ?? '')
      await addMembers(sql, group.groupId, from, members)
      unsent.push(await this.record(sql, begin(frozen, [], context)))
      from += members.length
    }
    return unsent.flat()
  }

  /** Fails the body of a chord that still waits at its deadline. Null: it has ended meanwhile. */
  async expire(sql: Sql, { groupId, size, remaining, deadline }: ExpiredGroup): Promise<Unsent[] | null> {
    const message = `${remaining} of the chord's ${size} tasks had not ended at its deadline ${new Date(deadline).toISOString()}`
    return this.giveUp(sql, groupId, plain('DeadlineExceeded', message))
  }

  /** Fails the body of a chord that still waits, because it is not wanted any more. */
  async abandon(sql: Sql, groupId: string, reason: string): Promise<Unsent[]> {
    const group = await groupOf(sql, groupId)
    if (!group?.chord) return []
    return (await this.giveUp(sql, groupId, plain('TaskRevokedError', reason))) ?? []
  }

  /**
   * Hands over what a commit left, once it is written; a broker and a store in the ledger's database have theirs already. A client
   * hears of a failure before an errback that may look at it is sent, and of a success after what follows it, as from Celery.
   */
  async send(unsent: readonly Unsent[]): Promise<void> {
    const ends = unsent.flatMap((one) => (one.kind === 'end' ? [one.end] : []))
    for (const end of ends) if (end.status !== 'SUCCESS') await this.tell(end)
    await this.publisher.sendRecorded(unsent.flatMap((one) => (one.kind === 'message' ? [one.message] : [])))
    for (const end of ends) if (end.status === 'SUCCESS') await this.tell(end)
  }

  /** Tells Celery's clients of all ends that somebody should have told them of by now, as far as the store of results takes them. */
  async tellUntold(batch: number): Promise<void> {
    for (;;) {
      const ends = (await this.results?.takeUp(batch)) ?? []
      const told = await Promise.all(ends.map((end) => this.tell(end)))
      if (ends.length < batch || told.includes(false)) return
    }
  }

  /** Fails a body for want of a member that has not ended. */
  private async giveUp(sql: Sql, groupId: string, error: ErrorRecord): Promise<Unsent[] | null> {
    const chord = await endChord(sql, groupId, this.now())
    if (!chord) return null
    await this.forgetSecrets(sql, chord)
    const missing = (await findMissing(sql, groupId)) ?? groupId
    return this.carryOut(sql, failBody(chord.body, { taskId: missing, error }, this.context(chord)))
  }

  /**
   * An end may settle tasks that count in groups, and a group that is complete sends or settles more: until nothing is left.
   *
   * @param told whether Celery's clients have heard of what `first` settles
   */
  private async carryOut(sql: Sql, first: Continuation, told = false): Promise<Unsent[]> {
    const unsent: Unsent[][] = []
    const todo: Continuation[] = [first]
    for (let next = todo.shift(); next; next = todo.shift()) {
      for (const launch of next.launches) unsent.push(await this.record(sql, launch))
      const { arrivals, untold } = await this.settle(sql, next, told && next === first)
      unsent.push(untold)
      for (const arrival of arrivals) {
        const following = await this.arrived(sql, arrival)
        if (following) todo.push(following)
      }
    }
    return unsent.flat()
  }

  /** Records what never ran: the ends that groups are to hear of, and Celery's clients. A task that had a row already is left as it is. */
  private async settle(
    sql: Sql,
    { settled, arrival }: Continuation,
    told: boolean,
  ): Promise<{ arrivals: readonly Arrival[]; untold: Unsent[] }> {
    const arrivals = arrival ? [arrival] : []
    const untold: Unsent[][] = []
    for (const one of settled) {
      if (!(await this.recordSettled(sql, one))) continue
      if (!told) untold.push(await this.keep(sql, one.message, endOf(one)))
      if (one.arrival && !countsInCelery(one.message)) arrivals.push(one.arrival)
    }
    return { arrivals, untold: untold.flat() }
  }

  private async record(sql: Sql, launch: Launch): Promise<Unsent[]> {
    return (await this.publisher.recordLaunch(sql, launch)).map((message) => ({ kind: 'message', message }))
  }

  /** Has Celery's clients hear of an end, if one may wait for it; the chord that it counts in may go on with it. */
  private async keep(sql: Sql, message: TaskMessage, end: TaskEnd | Retrying, keepsErrors = false): Promise<Unsent[]> {
    if (!this.results?.takes(message)) return []
    const children = end.status === 'SUCCESS' ? await childrenOf(sql, message.id) : []
    const told = celeryEnd(message, end, { children, at: this.now(), keepsErrors })
    if (!told) return []
    const { untold, chord } = await this.results.keep(sql, told)
    if (untold) return [{ kind: 'end', end: told }]
    return chord ? this.carryOut(sql, this.afterCelerysChord(told, chord)) : []
  }

  /** False: they are still to be told. */
  private async tell(end: CeleryEnd): Promise<boolean> {
    if (!this.results) return true
    return this.results.tell(end, async (last, chord) => {
      const unsent = await this.publisher.commit((sql) => this.carryOut(sql, this.afterCelerysChord(last, chord)))
      await this.send(unsent)
    })
  }

  /** What follows a chord that Celery's own counters counted; `last` is the member that completed it. */
  private afterCelerysChord({ chord: body, rootId, taskId, deadline }: CeleryEnd, chord: ChordEnd): Continuation {
    const context = this.context({ rootId, parentId: taskId, deadline })
    if (!body) throw new Error(`${taskId} counts in no chord`)
    if (chord.kind === 'failed') return failBody(body, chord.culprit, context)
    if (isRedacted(body)) return failBody(body, { taskId, error: UNSENDABLE }, context)
    return { launches: [begin(body, [chord.results], context)], settled: [], arrival: null }
  }

  private recordSettled(sql: Sql, { message, status, error }: Settled): Promise<boolean> {
    const at = this.now()
    const { resultExpires = this.settings.resultExpires } = message.options
    const end = { at, resultExpiresAt: resultExpires === null ? null : at + resultExpires * 1000 }
    return recordUnbegun(sql, message, this.redaction.stored(message, true), { status, error }, end)
  }

  private async arrived(sql: Sql, arrival: Arrival): Promise<Continuation | null> {
    const arrived = await arrive(sql, arrival, this.now())
    if (arrived.kind !== 'counted') await this.forgetSecrets(sql, arrived.chord)
    switch (arrived.kind) {
      case 'counted':
        return null
      case 'failed':
        return failBody(arrived.chord.body, culpritOf(arrival), this.context(arrived.chord))
      case 'complete':
        return this.release(sql, arrived.chord)
      case 'repaired':
        return this.releaseAgain(sql, arrived.chord)
    }
  }

  /** The body of a chord, with the results of its header. */
  private async release(sql: Sql, chord: WaitingChord): Promise<Continuation> {
    const context = this.context(chord)
    const results = await resultsOf(sql, chord.groupId)
    const lost = results.find(({ kept }) => !kept)
    if (lost) {
      const error = plain('ResultLost', 'its result was deleted before the chord could use it')
      return failBody(chord.body, { taskId: lost.taskId, error }, context)
    }
    const shown = results.find(({ exact }) => !exact)
    if (shown) {
      const error = plain('UnreadableResult', 'its result cannot be told exactly from what Celery showed of it')
      return failBody(chord.body, { taskId: shown.taskId, error }, context)
    }
    const bytes = results.reduce((sum, { result }) => sum + 1 + Buffer.byteLength(result ?? 'null'), 0)
    if (bytes > MAX_JSON_BYTES) {
      const error = plain('ResultTooLarge', `the results of the chord are ${bytes} bytes of JSON; the limit is ${MAX_JSON_BYTES}`)
      return failBody(chord.body, { taskId: chord.groupId, error }, context)
    }
    const values: readonly Json[] = results.map(({ result }) => jsonOrText(result))
    return { launches: [begin(chord.body, [values], context)], settled: [], arrival: null }
  }

  /** The body has failed and its rows are final: it is sent under other ids, each the copy of what it was. */
  private async releaseAgain(sql: Sql, chord: WaitingChord): Promise<Continuation> {
    const { canvas, ids } = refreeze(chord.body, () => newTaskId(this.now()))
    const originals = new Map([...ids].map(([old, fresh]) => [fresh, old]))
    const released = await this.release(sql, { ...chord, body: canvas })
    return { ...released, launches: released.launches.map((launch) => asCopies(launch, originals)) }
  }

  private async forgetSecrets(sql: Sql, { groupId, body }: WaitingChord): Promise<void> {
    if (this.redaction.hides(body)) await forgetBody(sql, groupId)
  }

  private place() {
    const { defaultQueue, routes } = this.settings
    return { now: this.now(), newId: () => newTaskId(this.now()), defaultQueue, routes }
  }

  private context({ rootId, parentId, deadline }: Pick<SendContext, 'rootId' | 'parentId' | 'deadline'>): SendContext {
    return { rootId, parentId, deadline, ...this.place() }
  }
}

const plain = (type: string, message: string): ErrorRecord => ({ type, message, traceback: null })

const UNSENDABLE = plain('UnsendableRowError', 'its arguments are redacted')

/** Whether its end counts in a chord of Celery's, of which the ledger has no group. */
const countsInCelery = ({ options }: TaskMessage): boolean => options.celery?.chord !== undefined

/** How a task that never ran ended. */
const endOf = ({ status, error }: Settled): TaskEnd => (status === 'IGNORED' || error === null ? { status: 'IGNORED' } : { status, error })

function culpritOf({ culprit, end }: Arrival): Culprit {
  return { taskId: culprit, error: 'error' in end ? end.error : plain('Error', end.status) }
}

function asCopies({ messages, groups }: Launch, originals: ReadonlyMap<string, string>): Launch {
  return { groups, messages: messages.map((message) => ({ ...message, retryOf: originals.get(message.id) ?? null })) }
}
