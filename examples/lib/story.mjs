import { setTimeout as pause } from 'node:timers/promises'

/** An example that has not ended by then has stopped on its way. */
const DEADLINE_SECONDS = 55

const startedAt = Date.now()

export const secondsPassed = () => (Date.now() - startedAt) / 1000

export const secondsLeft = () => DEADLINE_SECONDS - secondsPassed()

/** Says what comes next. */
export function say(text) {
  console.log(`\n# ${text}`)
}

export async function until(what, holds) {
  while (!(await holds())) {
    if (secondsLeft() < 0) throw new Error(`waited too long until ${what}`)
    await pause(50)
  }
}
