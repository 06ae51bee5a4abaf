import { text } from 'node:stream/consumers'
import type { Tasks } from '../app/tasks.js'
import { UsageError } from '../task/errors.js'

/** Shorter beginnings of an id match too much to be meant. */
const SHORTEST_PREFIX = 8

/**
 * The ids that words on the command line mean: whole ids, unique beginnings of at least eight characters, or `-` for
 * ids on stdin, one a line.
 *
 * @throws {UsageError} for an id that no task has, or that several have
 */
export async function resolveIds(tasks: Tasks, words: readonly string[]): Promise<string[]> {
  const given = await Promise.all(
    words.map(async (word) => (word === '-' ? (await text(process.stdin)).split(/\s+/).filter(Boolean) : [word])),
  )
  const ids: string[] = []
  for (const word of given.flat()) ids.push(await resolveId(tasks, word))
  return [...new Set(ids)]
}

export async function resolveId(tasks: Tasks, word: string): Promise<string> {
  if (await tasks.get(word)) return word
  const meant = word.length < SHORTEST_PREFIX ? [] : await tasks.idsLike(word)
  const [only] = meant
  if (meant.length === 1 && only) return only
  if (meant.length > 1) throw new UsageError(`the id ${word} may be any of ${meant.join(', ')}`, { hint: 'give more of it' })
  throw new UsageError(`there is no task with the id ${word}`, { hint: 'taskledger list shows the newest' })
}
