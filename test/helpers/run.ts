import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export interface Ran {
  readonly stdout: string
  readonly stderr: string
  /** Null when a signal ended it. */
  readonly code: number | null
}

export interface RunOptions {
  readonly cwd?: string
  /** Added to this process's environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly input?: string
  /** Whom it runs as. Default: whoever runs the tests. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined
}

/** Variables of the person who runs the tests that would change what a command prints. */
const NEUTRAL = { NO_COLOR: undefined, FORCE_COLOR: undefined, CLICOLOR_FORCE: undefined, NODE_ENV: undefined, NODE_OPTIONS: undefined }

/**
 * Runs an executable of the package as a user would, with Node and from dist, and waits for its end.
 *
 * @param bin its file in bin/, without `.js`: `run` is `taskledger`
 */
export const run = (bin: string, args: readonly string[], options?: RunOptions): Promise<Ran> =>
  runFile(`${ROOT}bin/${bin}.js`, args, options)

/** The same for any file that Node can run. */
export const runFile = (file: string, args: readonly string[], options?: RunOptions): Promise<Ran> =>
  runProgram(process.execPath, [file, ...args], options)

/** How long a program may take. It only bounds a test that has failed: a worker that starts, say, where it is to be refused. */
const BOUND_MS = 18_000

/** The same for any program. */
export function runProgram(
  program: string,
  args: readonly string[],
  { cwd = ROOT, env = {}, input = '', user }: RunOptions = {},
): Promise<Ran> {
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...NEUTRAL, ...env },
    timeout: BOUND_MS,
    killSignal: 'SIGKILL',
    ...user,
  })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  child.stdin.on('error', () => {}) // it may end before it has read everything
  child.stdin.end(input)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString(), code }))
  })
}

/** The end of a program whose reader goes away after the first of what it writes. */
export async function runUnread(file: string, args: readonly string[]): Promise<Omit<Ran, 'stdout'>> {
  const child = spawn(process.execPath, [file, ...args])
  const err: Buffer[] = []
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  await once(child.stdout, 'data')
  child.stdout.destroy()
  const [code] = await once(child, 'close')
  return { stderr: Buffer.concat(err).toString(), code }
}
