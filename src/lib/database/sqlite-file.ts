import { access, constants, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ConfigurationError } from '../task/errors.js'
import type { Mode } from './engine.js'
import { readOnly } from './sqlite-failure.js'

/** Whether the folder takes no files, as on a backup medium, and nobody has the database open: SQLite could not make its files there. */
export async function isFrozen(filename: string): Promise<boolean> {
  return !(await succeeds(access(dirname(filename), constants.W_OK))) && !(await succeeds(stat(`${filename}-wal`)))
}

const succeeds = (attempt: Promise<unknown>): Promise<boolean> =>
  attempt.then(
    () => true,
    () => false,
  )

/** @throws {ConfigurationError} when the file or its rights are wrong */
export async function checkFile(filename: string, mode: Mode): Promise<void> {
  const found = await stat(filename).catch((error: NodeJS.ErrnoException) => error)
  if (!(found instanceof Error)) {
    if (found.isDirectory())
      throw new ConfigurationError(`the database ${filename} is a folder`, { hint: 'name a file, for example sqlite:taskledger.db' })
    if (mode !== 'read' && !(await succeeds(access(filename, constants.W_OK)))) throw readOnly(filename)
    return
  }
  if (found.code !== 'ENOENT') {
    const hint = 'check that this user may open the folders on the way to it'
    throw new ConfigurationError(`the database ${filename} cannot be read: ${found.code ?? found.message}`, { hint })
  }
  if (mode !== 'create') {
    throw new ConfigurationError(`there is no ledger at ${filename}`, {
      hint: `make one with: taskledger migrate --database sqlite:${filename}`,
    })
  }
  const folder = dirname(filename)
  const isFolder = await stat(folder).then(
    (parent) => parent.isDirectory(),
    () => false,
  )
  if (!isFolder)
    throw new ConfigurationError(`the database ${filename} cannot be made: there is no folder ${folder}`, { hint: 'make the folder first' })
}
