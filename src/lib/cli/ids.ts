import { text } from 'node:stream/consumers'
import { nearest } from '../app/nearest.js'
import type { Tasks } from '../app/tasks.js'
import { type PlainError, UsageError } from '../task/errors.js'

/** Shorter beginnings of an id match too much to be meant. */
const SHORTEST_PREFIX = 8

/** For the help of a command that takes ids. */
export const NAMED_BY = `An ID may be shortened to ${SHORTEST_PREFIX} characters or more; - reads ids from stdin, one a line.`

/** How many ids are looked through for one that was meant. */
const MOST_NEAR = 100

/**
 * The ids that words on the command line mean: whole ids, unique beginnings of at least eight characters, or `-` for
 * ids on stdin, one a line.
 *
 * @param Missing what an id is that no task has. A command that changes tasks is then wrongly given; one that looks has failed.
 * @param ahead whether the whole id of a task that a workflow is still to send is meant, too
 * @throws {UsageError} for an id that several tasks have
 */
export async function resolveIds(
  tasks: Tasks,
  words: readonly string[],
  Missing: typeof PlainError = UsageError,
  ahead = false,
): Promise<string[]> {
  const given = await Promise.all(
    words.map(async (word) => (word === '-' ? (await text(process.stdin)).split(/\s+/).filter(Boolean) : [word])),
  )
  const ids: string[] = []
  for (const word of given.flat()) ids.push(await resolveId(tasks, word, Missing, ahead))
  return [...new Set(ids)]
}

async function resolveId(tasks: Tasks, word: string, Missing: typeof PlainError, ahead: boolean): Promise<string> {
  if ((await tasks.get(word)) || (ahead && (await tasks.isAhead(word)))) return word
  const begun = await tasks.idsLike(word)
  const meant = word.length < SHORTEST_PREFIX ? [] : begun
  const [only] = meant
  if (meant.length === 1 && only) return only
  if (meant.length > 1) throw new UsageError(`the id ${word} may be any of ${meant.join(', ')}`, { hint: 'give more of it' })
  const near = begun.length > 0 ? begun : await idNear(tasks, word)
  const hint = near.length > 0 ? `did you mean ${near.join(' or ')}?` : 'taskledger list shows the newest'
  throw new Missing(`there is no task with the id ${word}`, { hint })
}

/** The id of which `word` is a misspelling, if its first third is right. */
async function idNear(tasks: Tasks, word: string): Promise<string[]> {
  const near = nearest(word, await tasks.idsLike(word.slice(0, Math.ceil(word.length / 3)), MOST_NEAR))
  return near === undefined ? [] : [near]
}
