import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** Debian's: packages celery, python3-sqlalchemy and python3-psycopg2. */
const PYTHON = '/usr/bin/python3'

// its workers are not to outlive a benchmark that is stopped
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

/** It talks to no other worker; everything else is as it is when nobody sets it. */
const ALONE = ['--without-gossip', '--without-mingle', '--without-heartbeat']

/**
 * Runs `use` with a worker of Celery's that has two processes.
 *
 * @param env what lib/celery_noop.py reads
 */
export async function withCelery(env, use, options = []) {
  const args = [
    '-m',
    'celery',
    '-A',
    'celery_noop',
    'worker',
    '-c',
    '2',
    '-l',
    'INFO',
    '-n',
    `bench${process.pid}@%h`,
    ...ALONE,
    ...options,
  ]
  const child = spawn(PYTHON, args, {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const worker = new CeleryWorker(child)
  const kill = () => worker.kill()
  process.once('exit', kill)
  try {
    return await use(worker)
  } finally {
    process.off('exit', kill)
    kill()
    await worker.ended
  }
}

class CeleryWorker {
  #lines = []
  #heard = () => {}

  constructor(child) {
    this.pid = child.pid
    this.ended = new Promise((resolve) => {
      child.once('exit', resolve)
    })
    for (const stream of [child.stdout, child.stderr]) {
      createInterface(stream).on('line', (line) => {
        this.#lines.push(line)
        this.#heard()
      })
    }
  }

  /** What follows `word` in the line that it begins. */
  async said(word) {
    const line = await Promise.race([this.#line(word), this.ended.then(() => null)])
    if (line === null) throw new Error(`a worker of Celery's ended before it said ${word}: ${this.#lines.join('\n')}`)
    return line.slice(word.length).trim()
  }

  #line(word) {
    return new Promise((resolve) => {
      this.#heard = () => {
        const line = this.#lines.find((one) => one.startsWith(word))
        if (line !== undefined) resolve(line)
      }
      this.#heard()
    })
  }

  /** With the processes of its pool. */
  kill() {
    process.kill(-this.pid, 'SIGKILL')
  }
}
