import { createHash } from 'node:crypto'
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Ran, type RunOptions, run } from './run.js'

/** A folder without a ledger, and the program that is run in it. `await using` removes it, however the test ends. */
export interface Folder extends AsyncDisposable {
  readonly path: string
  file(name: string): string
  run(argv: readonly string[], options?: RunOptions): Promise<Ran>
  /**
   * Every file's name and a digest of its bytes, for seeing that nothing was changed. SQLite's own two files beside a
   * database are left out: whoever reads one that is written in WAL mode makes them.
   */
  contents(): Promise<Record<string, string>>
}

export async function openFolder(): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), 'taskledger-test-'))
  await chmod(path, 0o755) // another user must be able to look into it
  return {
    path,
    file: (name) => join(path, name),
    run: (argv, options) => run('run', argv, { cwd: path, ...options }),
    async contents() {
      const entries = (await readdir(path, { withFileTypes: true })).filter(({ name }) => !/-(wal|shm)$/.test(name))
      const bytesOf = async (name: string) => createHash('sha256').update(await readFile(join(path, name)))
      const told = entries.map(async (entry) => [entry.name, entry.isFile() ? (await bytesOf(entry.name)).digest('hex') : 'no file'])
      return Object.fromEntries(await Promise.all(told))
    },
    async [Symbol.asyncDispose]() {
      await chmod(path, 0o755)
      await rm(path, { recursive: true })
    },
  }
}

/** Somebody who may not write to what the tests make: root may write everywhere, anybody else is bound by file modes. */
export const STRANGER: RunOptions['user'] = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : undefined

/** Whether file modes bind anybody here. */
export const HAS_MODES = process.platform !== 'win32'
