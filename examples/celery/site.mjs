import { spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('.', import.meta.url))

/** A Python that has what a Django site with Celery needs; PYTHON names another. */
function findPython() {
  const found = [process.env.PYTHON, 'python3', '/usr/bin/python3'].find(
    (python) => python && spawnSync(python, ['-c', 'import celery, django, redis']).status === 0,
  )
  if (!found) throw new Error('no Python here has celery, django and redis; install them, or name another Python with PYTHON')
  return found
}

/** The Django site, run as a person would. */
export class Site {
  constructor(settings) {
    this.python = findPython()
    this.env = { ...process.env, ...settings, DJANGO_SETTINGS_MODULE: 'shop.settings', PYTHONDONTWRITEBYTECODE: '1' }
  }

  /** Runs a script of the site, shows what it prints and returns it. */
  run(script) {
    console.log(`\n$ python3 ${script}`)
    const { stdout, stderr, status } = spawnSync(this.python, [script], { cwd: folder, env: this.env, encoding: 'utf8' })
    console.log(`${stdout}${stderr}`.trimEnd())
    if (status !== 0) throw new Error(`${script} ended with exit code ${status}`)
    return stdout
  }

  /** Starts a worker of Celery's, and resolves once it takes messages. */
  startWorker() {
    console.log('\n$ celery -A shop worker &')
    const quiet = ['--without-gossip', '--without-mingle', '--without-heartbeat']
    const args = ['-m', 'celery', '-A', 'shop', 'worker', '-P', 'solo', '-l', 'INFO', ...quiet]
    const child = spawn(this.python, args, { cwd: folder, env: this.env, stdio: ['ignore', 'ignore', 'pipe'] })
    const log = []
    const ready = new Promise((resolve, reject) => {
      createInterface({ input: child.stderr }).on('line', (line) => {
        log.push(line)
        if (line.includes('ready.')) resolve()
      })
      child.once('exit', () => reject(new Error(`the Celery worker has ended: ${log.join('\n')}`)))
    })
    return { child, ready }
  }
}
