import { continuation, following, leftByCelery } from '../canvas/continuation.js'
import { freezeInto, leaves } from '../canvas/freeze.js'
import { begin, type SendContext } from '../canvas/launch.js'
import type { TaskEnd } from '../canvas/settle.js'
import type { ChordEnd } from '../celery/chord.js'
import type { CeleryEnd } from '../celery/result-form.js'
import type { Sql } from '../database/sql.js'
import { isRedacted, type Redaction } from '../ledger/arguments.js'
import type { ExpiredGroup } from '../ledger/arrivals.js'
import { addMembers, groupOf, lockGroup, replaceMember } from '../ledger/groups.js'
import { endedMessage, type TaskRow } from '../ledger/row.js'
import { newTaskId } from '../task/id.js'
import { isPart, type TaskMessage } from '../task/message.js'
import type { ErrorRecord } from '../task/outcome.js'
import type { Routing } from '../task/routing.js'
import type { Canvas } from '../task/signature.js'
import { type CeleryResults, countsInCelery } from './celery-results.js'
import { Chords, type Whereabouts } from './chords.js'
import { Continuations, type Unsent } from './continuations.js'
import type { Publisher } from './publisher.js'
import { errorOf, UNSENDABLE } from './reasons.js'

export type { Unsent } from './continuations.js'

/** The end of a task that was revoked, or that expired. */
export const revokedFor = (reason: string): TaskEnd => ({ status: 'REVOKED', error: errorOf('TaskRevokedError', reason) })

/**
 * What makes a workflow go on. Whoever ends the row of a task asks it in the same commit, so that no end is recorded without
 * all that follows from it: the next steps, the callbacks or errbacks, the rows of what will never run, and the groups that
 * heard of it, and, of what a client of Celery's waits for, its result. Every answer is what to give to `send` once the commit is written.
 */
export class Follower {
  private readonly chords: Chords
  private readonly continuations: Continuations

  constructor(
    private readonly publisher: Publisher,
    redaction: Redaction,
    private readonly settings: Routing & {
      /** Seconds; null: for ever. */
      readonly resultExpires: number | null
    },
    private readonly now: () => number,
    private readonly results: CeleryResults | null = null,
  ) {
    this.chords = new Chords(redaction, (whereabouts) => this.context(whereabouts), now)
    this.continuations = new Continuations(publisher, redaction, this.chords, results, settings, now)
  }

  /** Whether the end of the task means something to anybody. If not, nothing follows it. */
  isAwaited(message: TaskMessage): boolean {
    return isPart(message) || this.results?.takes(message) === true
  }

  /** What follows the end of a task. `keepsErrors`: the result of a failure is kept even of a task whose result is ignored. */
  async follow(sql: Sql, message: TaskMessage, end: TaskEnd, keepsErrors = false): Promise<Unsent[]> {
    const unsent = await this.followUnended(sql, message, end)
    return [...(await this.continuations.keep(sql, message, end, keepsErrors)), ...unsent]
  }

  /**
   * What follows a task that itself goes on: all that was to follow it ends in this way.
   *
   * @param told whether Celery's clients have heard of that
   */
  async followUnended(sql: Sql, message: TaskMessage, end: TaskEnd, told = false): Promise<Unsent[]> {
    if (!isPart(message)) return []
    const next = continuation(message, end, this.place())
    return this.continuations.carryOut(sql, countsInCelery(message) ? { ...next, arrival: null } : next, told)
  }

  /** What is to be told of a task that waits for a retry. */
  async retried(sql: Sql, message: TaskMessage, error: ErrorRecord | null): Promise<Unsent[]> {
    return this.continuations.keep(sql, message, { status: 'RETRY', error })
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
      for (const one of messages) await this.continuations.recordSettled(sql, { message: one, status: 'FAILURE', error: UNSENDABLE })
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
    return this.continuations.record(sql, begin(canvas, [], context))
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
      unsent.push(await this.continuations.record(sql, begin(frozen, [], context)))
      from += members.length
    }
    return unsent.flat()
  }

  /** Fails the body of a chord that still waits at its deadline. Null: it has ended meanwhile. */
  async expire(sql: Sql, { groupId, size, remaining, deadline }: ExpiredGroup): Promise<Unsent[] | null> {
    const message = `${remaining} of the chord's ${size} tasks had not ended at its deadline ${new Date(deadline).toISOString()}`
    return this.giveUp(sql, groupId, errorOf('DeadlineExceeded', message))
  }

  /** Fails the body of a chord that still waits, because it is not wanted any more. */
  async abandon(sql: Sql, groupId: string, reason: string): Promise<Unsent[]> {
    const group = await groupOf(sql, groupId)
    if (!group?.chord) return []
    return (await this.giveUp(sql, groupId, errorOf('TaskRevokedError', reason))) ?? []
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
    await this.results?.tellUntold(batch, (last, chord) => this.releaseCelerys(last, chord))
  }

  private async tell(end: CeleryEnd): Promise<void> {
    await this.results?.tell(end, (last, chord) => this.releaseCelerys(last, chord))
  }

  /** Sends what follows a chord that Celery's own counters counted, in a commit of its own. */
  private async releaseCelerys(last: CeleryEnd, chord: ChordEnd): Promise<void> {
    await this.send(await this.publisher.commit((sql) => this.continuations.carryOut(sql, this.chords.ofCelery(last, chord))))
  }

  private async giveUp(sql: Sql, groupId: string, error: ErrorRecord): Promise<Unsent[] | null> {
    const following = await this.chords.giveUp(sql, groupId, error)
    return following && this.continuations.carryOut(sql, following)
  }

  private place() {
    const { defaultQueue, routes } = this.settings
    return { now: this.now(), newId: () => newTaskId(this.now()), defaultQueue, routes }
  }

  private context({ rootId, parentId, deadline }: Whereabouts): SendContext {
    return { rootId, parentId, deadline, ...this.place() }
  }
}
