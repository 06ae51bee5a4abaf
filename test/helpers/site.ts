import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { isFinal } from '../../src/lib/task/status.js'
import { type Exit, Processes, type Running } from './processes.js'
import { type Columns, putRow } from './rows.js'
import { type Ran, ROOT, run, runProgram } from './run.js'
import { openWorld, type World } from './world.js'

export const SECOND = 1000
export const MINUTE = 60 * SECOND
export const HOUR = 60 * MINUTE

export interface SiteOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
}

/** What JSON.parse makes of a document; tests compare the whole of it. */
export type Document = ReturnType<typeof JSON.parse>

/** A ledger of the present, and the program that is run on it as a person runs it: in the ledger's folder, by words. */
export interface Site extends World {
  run(argv: readonly string[], options?: SiteOptions): Promise<Ran>
  /** Runs it with --json, sees that it says nothing besides, and returns its document. */
  json(argv: readonly string[], code?: number): Promise<Document>
  /** Runs it on a terminal of 200 columns; stdout is all that is to be seen there. Needs the `script` of util-linux. */
  terminal(argv: readonly string[], options?: SiteOptions): Promise<Ran>
  /** Starts it and goes on; what is left of it is killed at the end. */
  start(...argv: string[]): Running
  /** Writes a row that was published, and last touched, at `at`, apart from `columns`. */
  put(at: number, columns: Columns): Promise<void>
}

export async function openSite(settings: Readonly<Record<string, string>> = {}): Promise<Site> {
  const world = await openWorld({ now: Date.now })
  const { folder, env, database } = world
  const processes = new Processes()
  const environment = { ...env, TZ: 'UTC', ...settings }
  const options = ({ env, input }: SiteOptions) => ({ cwd: folder, env: { ...environment, ...env }, ...(input !== undefined && { input }) })
  return {
    ...world,
    run: (argv, given = {}) => run('run', argv, options(given)),
    async json(argv, code = 0) {
      const ran = await run('run', [...argv, '--json'], options({}))
      assert.deepEqual({ stderr: ran.stderr, code: ran.code }, { stderr: '', code }, ran.stdout)
      return JSON.parse(ran.stdout)
    },
    async terminal(argv, given = {}) {
      const words = [process.execPath, `${ROOT}bin/run.js`, ...argv].map((word) => `'${word.replaceAll("'", `'\\''`)}'`)
      const ran = await runProgram('script', ['-qec', `stty cols 200 -echo; ${words.join(' ')}`, '/dev/null'], options(given))
      return { ...ran, stdout: ran.stdout.replaceAll('\r', '') }
    },
    start: (...argv) => processes.command(argv, environment),
    put: (at, columns) => {
      const status = columns.status ?? 'PENDING'
      const published_at = status === 'SCHEDULED' ? null : at
      return putRow(database, { submitted_at: at, published_at, updated_at: at, finished_at: isFinal(status) ? at : null, ...columns })
    },
    async [Symbol.asyncDispose]() {
      await processes[Symbol.asyncDispose]()
      await world[Symbol.asyncDispose]()
    },
  }
}

/** Why a test that needs a terminal cannot run here; null: it can. */
export function withoutTerminal(): string | null {
  const { stdout } = spawnSync('script', ['--version'], { encoding: 'utf8' })
  return stdout?.includes('util-linux') ? null : 'there is no script of util-linux here to make a terminal'
}

export const ended = (code: number): Exit => ({ code, signal: null })
