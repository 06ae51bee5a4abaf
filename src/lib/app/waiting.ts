import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql } from '../database/sql.js'
import { type Ended, endsOf, type Standing, standingsOf } from '../ledger/standing.js'
import { runningTask } from '../task/definition.js'
import { PlainError, UsageError } from '../task/errors.js'
import type { Parts } from './parts.js'
import { TimeoutError } from './task-error.js'

export interface GetOptions {
  /** Seconds to wait. Default: as long as it takes. */
  readonly timeout?: number
  /** False: a task's error is returned instead of thrown. Default: true. */
  readonly propagate?: boolean
  /** False: a task may wait here for another. Its worker then waits too; with all slots so, nothing goes on. Default: true. */
  readonly disableSyncSubtasks?: boolean
}

/** Where those who wait look. */
type Place = Pick<Parts, 'database' | 'lookout'>

/**
 * Waits until these tasks have ended, and says how, in their order. Of a scheduled or replaced task it is the end of the one
 * in its place.
 *
 * @param failFast stop at the first that failed or was revoked, and return its end alone
 * @throws {TimeoutError} when they did not end in time
 * @throws {UsageError} inside a task, unless it is allowed
 */
export async function waitForEnds(
  { database, lookout }: Place,
  taskIds: readonly string[],
  { timeout, disableSyncSubtasks = true }: GetOptions,
  failFast = false,
): Promise<Ended[]> {
  refuseInTask(disableSyncSubtasks)
  const deadline = timeout === undefined ? Number.POSITIVE_INFINITY : Date.now() + timeout * 1000
  const current = [...taskIds]
  let open = current.map((_, place) => place)
  while (open.length > 0) {
    const standings = await followed((ids) => lookout.standingsOf(ids), current, open)
    const bad = failFast ? current.find((id) => hasFailed(standings.get(id))) : undefined
    if (bad !== undefined) return inOrder(database, [bad])
    open = open.filter((place) => !standings.get(current[place] ?? '')?.finished)
    const left = deadline - Date.now()
    if (open.length === 0) break
    if (left <= 0) throw new TimeoutError('The operation timed out.')
    await sleep(Math.min(lookout.pauseMs, left))
  }
  return inOrder(database, current)
}

/** The ids of the tasks that stand in the place of these, which may be themselves, and how far those are. */
export async function currentStandings(
  sql: Sql,
  taskIds: readonly string[],
): Promise<{ readonly ids: readonly string[]; readonly standings: readonly (Standing | null)[] }> {
  const ids = [...taskIds]
  const standings = await followed(
    (asked) => standingsOf(sql, asked),
    ids,
    ids.map((_, place) => place),
  )
  return { ids, standings: ids.map((id) => standings.get(id) ?? null) }
}

type Ask = (taskIds: readonly string[]) => Promise<ReadonlyMap<string, Standing>>

/** Asks for the ids at `places`, and puts the successor of each in its place until there is none. */
async function followed(ask: Ask, ids: string[], places: readonly number[]): Promise<Map<string, Standing>> {
  const found = new Map<string, Standing>()
  for (let asking = places; asking.length > 0; ) {
    const asked = asking.map((place) => ids[place] ?? '')
    const answered = await ask(asked)
    for (const id of asked) {
      const standing = answered.get(id)
      if (standing) found.set(id, standing)
    }
    asking = asking.filter((place) => {
      const successor = found.get(ids[place] ?? '')?.successor ?? null
      if (successor === null || found.has(successor)) return false
      ids[place] = successor
      return true
    })
  }
  return found
}

const hasFailed = (standing: Standing | undefined): boolean => standing?.status === 'FAILURE' || standing?.status === 'REVOKED'

async function inOrder(sql: Sql, taskIds: readonly string[]): Promise<Ended[]> {
  const ends = await endsOf(sql, taskIds)
  return taskIds.map((taskId) => {
    const end = ends.get(taskId)
    if (!end) throw new PlainError(`the record of task ${taskId} was deleted before its result was read`)
    return end
  })
}

function refuseInTask(disableSyncSubtasks: boolean): void {
  if (!disableSyncSubtasks || !runningTask.getStore()) return
  throw new UsageError('Never call result.get() within a task!', {
    hint: 'link a callback or a chain to it; or allow it with get({ disableSyncSubtasks: false }) where another worker runs it',
  })
}
