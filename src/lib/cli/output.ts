import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { PlainError } from '../task/errors.js'
import { EXIT_CODES, type Signal } from './signals.js'

class InterruptedError extends PlainError {
  override readonly exitCode: number

  constructor(message: string, signal: Signal) {
    super(message)
    this.exitCode = EXIT_CODES[signal]
  }
}

/** Some rows, as they are to be written. */
interface Chunk {
  readonly bytes: Buffer
  readonly rows: number
}

export interface Written {
  readonly rows: number
  readonly bytes: number
}

async function writeAll(chunks: AsyncIterable<Chunk>, stream: NodeJS.WritableStream, each: (rows: number) => void): Promise<Written> {
  let rows = 0
  let bytes = 0
  let failure: NodeJS.ErrnoException | undefined
  const fail = (error: Error | null | undefined) => {
    failure ??= error ?? undefined
  }
  stream.on('error', fail)
  for await (const chunk of chunks) {
    bytes += chunk.bytes.length
    await new Promise<void>((resolve) => {
      const hasRoom = stream.write(chunk.bytes, (error) => {
        fail(error)
        resolve()
      })
      if (hasRoom) resolve()
    })
    if (failure) break
    rows += chunk.rows
    each(chunk.rows)
  }
  if (failure && failure.code !== 'EPIPE') throw failure
  return { rows, bytes }
}

/** Writes to stdout as fast as the reader takes it. A reader that has seen enough, such as `head`, is no failure. */
export function writeToStdout(chunks: AsyncIterable<Chunk>, each: (rows: number) => void): Promise<Written> {
  return writeAll(chunks, process.stdout, each)
}

/**
 * Writes `FILE.part` and renames it once it is whole, so that no reader ever sees half a file; on failure nothing is left.
 * A device or a pipe is written to as it is.
 *
 * @throws {PlainError} when the file cannot be written
 */
export async function writeToFile(path: string, chunks: AsyncIterable<Chunk>, each: (rows: number) => void): Promise<Written> {
  const there = await stat(path).catch(() => null) // opening it says what is wrong
  if (there?.isDirectory()) throw new PlainError(`${path} cannot be written: it is a folder`, { hint: 'name a file in it' })
  const part = there && !there.isFile() ? path : `${path}.part`
  const interrupted = new AbortController()
  const onSignal = (signal: Signal) => interrupted.abort(signal)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal)
  try {
    const stream = createWriteStream(part)
    await once(stream, 'open')
    const written = await writeAll(untilAborted(chunks, interrupted.signal), stream, each)
    stream.end()
    await once(stream, 'close')
    interrupted.signal.throwIfAborted()
    if (part !== path) await rename(part, path)
    return written
  } catch (cause) {
    if (part !== path) await rm(part, { force: true }).catch(() => {}) // the first error is the one to tell
    if (interrupted.signal.aborted) throw new InterruptedError(`interrupted; ${path} is as it was`, interrupted.signal.reason)
    throw cause instanceof Error && 'syscall' in cause ? unwritable(path, cause as NodeJS.ErrnoException) : cause
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal)
  }
}

function unwritable(path: string, cause: NodeJS.ErrnoException): PlainError {
  const folder = dirname(path)
  const hint = 'name another file with --output'
  if (cause.code === 'ENOENT')
    return new PlainError(`${path} cannot be written: there is no folder ${folder}`, { cause, hint: 'make the folder first' })
  if (cause.code === 'EACCES')
    return new PlainError(`${path} cannot be written: this user may not write to the folder ${folder}`, { cause, hint })
  return new PlainError(`${path} cannot be written: ${cause.message}`, { cause, hint })
}

async function* untilAborted(chunks: AsyncIterable<Chunk>, signal: AbortSignal): AsyncGenerator<Chunk> {
  for await (const chunk of chunks) {
    if (signal.aborted) return
    yield chunk
  }
}
