import { type Continuation, failBody } from '../canvas/continuation.js'
import { refreeze } from '../canvas/freeze.js'
import { begin, type Launch, type SendContext } from '../canvas/launch.js'
import type { Arrival, Culprit } from '../canvas/settle.js'
import type { ChordEnd } from '../celery/chord.js'
import type { CeleryEnd } from '../celery/result-form.js'
import type { Sql } from '../database/sql.js'
import { isRedacted, type Redaction } from '../ledger/arguments.js'
import { arrive, endChord, forgetBody, type WaitingChord } from '../ledger/arrivals.js'
import { findMissing, resultsOf } from '../ledger/groups.js'
import { jsonOrText } from '../ledger/row.js'
import { type Json, MAX_JSON_BYTES } from '../task/json.js'
import type { ErrorRecord } from '../task/outcome.js'
import { errorOf, UNSENDABLE } from './reasons.js'

/** Of a task or group: where in its workflow it is. */
export type Whereabouts = Pick<SendContext, 'rootId' | 'parentId' | 'deadline'>

/** What becomes of the bodies of chords, as the ends of their members are counted. */
export class Chords {
  constructor(
    private readonly redaction: Redaction,
    private readonly contextOf: (whereabouts: Whereabouts) => SendContext,
    private readonly now: () => number,
  ) {}

  /** Counts the end of a member. Null: nothing follows it. */
  async arrived(sql: Sql, arrival: Arrival): Promise<Continuation | null> {
    const arrived = await arrive(sql, arrival, this.now())
    if (arrived.kind !== 'counted') await this.forgetSecrets(sql, arrived.chord)
    switch (arrived.kind) {
      case 'counted':
        return null
      case 'failed':
        return failBody(arrived.chord.body, culpritOf(arrival), this.contextOf(arrived.chord))
      case 'complete':
        return this.release(sql, arrived.chord)
      case 'repaired':
        return this.releaseAgain(sql, arrived.chord)
    }
  }

  /** Fails a body for want of a member that has not ended. Null: the chord has ended meanwhile. */
  async giveUp(sql: Sql, groupId: string, error: ErrorRecord): Promise<Continuation | null> {
    const chord = await endChord(sql, groupId, this.now())
    if (!chord) return null
    await this.forgetSecrets(sql, chord)
    const missing = (await findMissing(sql, groupId)) ?? groupId
    return failBody(chord.body, { taskId: missing, error }, this.contextOf(chord))
  }

  /** What follows a chord that Celery's own counters counted; the end is that of the member that completed it. */
  ofCelery({ chord: body, rootId, taskId, deadline }: CeleryEnd, chord: ChordEnd): Continuation {
    const context = this.contextOf({ rootId, parentId: taskId, deadline })
    if (!body) throw new Error(`${taskId} counts in no chord`)
    if (chord.kind === 'failed') return failBody(body, chord.culprit, context)
    if (isRedacted(body)) return failBody(body, { taskId, error: UNSENDABLE }, context)
    return { launches: [begin(body, [chord.results], context)], settled: [], arrival: null }
  }

  /** The body of a chord, with the results of its header. */
  private async release(sql: Sql, chord: WaitingChord): Promise<Continuation> {
    const context = this.contextOf(chord)
    const results = await resultsOf(sql, chord.groupId)
    const lost = results.find(({ kept }) => !kept)
    if (lost) {
      const error = errorOf('ResultLost', 'its result was deleted before the chord could use it')
      return failBody(chord.body, { taskId: lost.taskId, error }, context)
    }
    const shown = results.find(({ exact }) => !exact)
    if (shown) {
      const error = errorOf('UnreadableResult', 'its result cannot be told exactly from what Celery showed of it')
      return failBody(chord.body, { taskId: shown.taskId, error }, context)
    }
    const bytes = results.reduce((sum, { result }) => sum + 1 + Buffer.byteLength(result ?? 'null'), 0)
    if (bytes > MAX_JSON_BYTES) {
      const error = errorOf('ResultTooLarge', `the results of the chord are ${bytes} bytes of JSON; the limit is ${MAX_JSON_BYTES}`)
      return failBody(chord.body, { taskId: chord.groupId, error }, context)
    }
    const values: readonly Json[] = results.map(({ result }) => jsonOrText(result))
    return { launches: [begin(chord.body, [values], context)], settled: [], arrival: null }
  }

  /** The body has failed and its rows are final: it is sent under other ids, each the copy of what it was. */
  private async releaseAgain(sql: Sql, chord: WaitingChord): Promise<Continuation> {
    const { canvas, ids } = refreeze(chord.body, this.contextOf(chord).newId)
    const originals = new Map([...ids].map(([old, fresh]) => [fresh, old]))
    const released = await this.release(sql, { ...chord, body: canvas })
    return { ...released, launches: released.launches.map((launch) => asCopies(launch, originals)) }
  }

  private async forgetSecrets(sql: Sql, { groupId, body }: WaitingChord): Promise<void> {
    if (this.redaction.hides(body)) await forgetBody(sql, groupId)
  }
}

function culpritOf({ culprit, end }: Arrival): Culprit {
  return { taskId: culprit, error: 'error' in end ? end.error : errorOf('Error', end.status) }
}

function asCopies({ messages, groups }: Launch, originals: ReadonlyMap<string, string>): Launch {
  return { groups, messages: messages.map((message) => ({ ...message, retryOf: originals.get(message.id) ?? null })) }
}
