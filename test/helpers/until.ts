import { setTimeout as sleep } from 'node:timers/promises'

/** How long a condition may take to come true. Generous: it only bounds a test that has failed. */
const BOUND_MS = 15_000

/** Waits for `answer` to be other than false, null or undefined, asking again and again, and returns it. */
export async function until<T>(
  answer: () => Promise<T> | T,
  what: string,
  boundMs = BOUND_MS,
): Promise<Exclude<T, false | null | undefined>> {
  const deadline = Date.now() + boundMs
  for (;;) {
    const askedAt = performance.now()
    const found = await answer()
    if (found !== false && found !== null && found !== undefined) return found as Exclude<T, false | null | undefined>
    if (Date.now() > deadline) throw new Error(`waited ${boundMs} ms for ${what}`)
    await sleep(5 + 2 * (performance.now() - askedAt)) // a question that takes long does not keep others from answering it
  }
}
