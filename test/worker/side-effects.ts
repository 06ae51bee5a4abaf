import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { World } from '../helpers/world.js'

/** Where the bodies of a pool's tasks leave a line for each run. */
export const side = (w: World) => join(w.folder, 'side-effects')

/** The lines that bodies have left: for each run the task's id and the process's. */
export async function runs(w: World): Promise<{ id: string; pid: number }[]> {
  const text = await readFile(side(w), 'utf8').catch(() => '')
  const lines = text.split('\n').filter((line) => line !== '')
  return lines.map((line) => ({ id: line.split(' ')[0] ?? '', pid: Number(line.split(' ')[1]) }))
}
