import { readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Place {
  readonly folder: string
}

/** What the body of a task has left, each time it ran: the task's id, and a number that says by whom or when. */
export interface Run {
  readonly id: string
  readonly number: number
}

/** Where the bodies of the fixtures' tasks leave a line for each run. */
export const side = ({ folder }: Place): string => join(folder, 'side-effects')

export const runs = (w: Place): Run[] =>
  linesIn(side(w)).map((line) => {
    const [id = '', number] = line.split(' ')
    return { id, number: Number(number) }
  })

/** The lines that others have written to a file by now, without one that is still being written. None: there is no file yet. */
export function linesIn(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').slice(0, -1)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
