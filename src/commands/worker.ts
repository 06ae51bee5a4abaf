import { Flags, type Interfaces } from '@oclif/core'
import type { WorkerOptions } from '../lib/app/app.js'
import { importApp } from '../lib/cli/app-module.js'
import { LedgerCommand } from '../lib/cli/command.js'
import { logFlags } from '../lib/cli/flags.js'
import { EXIT_CODES, onSignals, type Signal } from '../lib/cli/signals.js'
import { logEvents } from '../lib/cli/worker-log.js'
import { LONGEST_TIME_LIMIT, parseDurationMs } from '../lib/task/duration.js'
import { ConfigurationError, UsageError } from '../lib/task/errors.js'

export default class Worker extends LedgerCommand {
  static override summary = 'Run tasks.'
  static override description =
    'Imports the app module, takes messages of its queues and runs their tasks until it is told to stop. The first SIGTERM or SIGINT (Ctrl-C) lets running tasks finish, ' +
    'for as long as --shutdown-timeout allows. After that, at a second signal, and at once for SIGQUIT, late-ack tasks go back to their queue, and early-ack ones fail as ' +
    'WorkerShutdown, or are sent again where their onWorkerLost is retry.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --app ./tasks.mjs',
    '<%= config.bin %> <%= command.id %> --app ./tasks.mjs -Q mail,default -c 50',
    '<%= config.bin %> <%= command.id %> --app ./tasks.mjs --no-sender --log-level warning',
  ]
  static override flags = {
    app: Flags.string({ summary: 'The module that exports app. Default: the setting app.', helpValue: 'MODULE' }),
    concurrency: Flags.integer({
      char: 'c',
      summary: 'How many tasks run at one time. Default: the setting concurrency.',
      min: 1,
      helpValue: 'N',
    }),
    queues: Flags.string({
      char: 'Q',
      summary: 'Take messages of these queues, with commas between them. Default: the setting defaultQueue.',
      delimiter: ',',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAMES',
    }),
    sender: Flags.boolean({ summary: 'Also send what is due. Default: yes.', default: true, allowNo: true }),
    pool: Flags.option({
      summary: 'Run tasks side by side in this process (async), or each in a child process (processes).',
      options: ['async', 'processes'] as const,
      default: 'async' as const,
    })(),
    'max-tasks-per-child': Flags.integer({
      summary: 'With --pool processes: replace a child after this many tasks.',
      min: 1,
      helpValue: 'N',
    }),
    'max-memory-per-child': Flags.integer({
      summary: 'With --pool processes: replace a child whose memory is above this many KiB once its task has ended.',
      min: 1,
      helpValue: 'KIB',
    }),
    'shutdown-timeout': Flags.custom<number>({
      summary: 'How long running tasks may take to end once it is told to stop: 30s, 5m. Default: the setting shutdownTimeout.',
      helpValue: 'DURATION',
      parse: async (text) => shutdownTimeout(text),
    })(),
    ...logFlags,
  }

  async run() {
    const { flags } = await this.parse(Worker)
    const settings = await this.settings()
    const module = flags.app ?? settings.app
    if (module === null)
      throw new ConfigurationError('there is no app to run tasks of', {
        hint: 'give --app ./tasks.mjs, or set app in taskledger.config.json',
      })
    const app = this.closing(await importApp(module, process.cwd()))
    app.override(await this.sources())
    const level = this.globals?.quiet ? 'error' : flags['log-level']
    const log = logEvents(app, level, flags['log-format'], (line) => process.stderr.write(`${line}\n`))
    const say = flags['log-format'] === 'json' ? log : (text: string) => this.say(text)
    const worker = app.worker({ ...workerOptions(flags), module })
    const signals = this.stopOnSignals(worker, say)
    try {
      await worker.run()
    } finally {
      signals.off()
    }
    // tasks that were given up are still running in this process, and would keep it
    if (signals.cold) {
      await app.close()
      process.exit(EXIT_CODES[signals.cold])
    }
    say('Stopped.')
    return { version: 1, kind: 'worker', workerId: worker.workerId }
  }

  /** TERM and INT: first warm, then cold; QUIT: cold at once. */
  private stopOnSignals(worker: { stop(options?: { now: boolean }): void }, say: (text: string) => void) {
    let cold: Signal | null = null
    let warm = false
    const off = onSignals(['SIGINT', 'SIGTERM', 'SIGQUIT'], (signal) => {
      if (warm || signal === 'SIGQUIT') cold = signal
      else say('Stopping: running tasks are being finished. Once more to end now.')
      worker.stop({ now: cold !== null })
      warm = true
    })
    return {
      off,
      get cold() {
        return cold
      },
    }
  }
}

/** @throws {UsageError} for what is no duration, and for more than a timer can wait for */
function shutdownTimeout(text: string): number {
  const seconds = parseDurationMs(text) / 1000
  if (seconds <= LONGEST_TIME_LIMIT) return seconds
  throw new UsageError(`expected a duration of at most ${LONGEST_TIME_LIMIT}s, not quite 25 days, got: ${text}`)
}

const workerOptions = (flags: Interfaces.InferredFlags<typeof Worker.flags>): WorkerOptions => ({
  sender: flags.sender,
  pool: flags.pool,
  ...(flags.concurrency !== undefined && { concurrency: flags.concurrency }),
  ...(flags.queues && { queues: flags.queues }),
  ...(flags['max-tasks-per-child'] !== undefined && { maxTasksPerChild: flags['max-tasks-per-child'] }),
  ...(flags['max-memory-per-child'] !== undefined && { maxMemoryPerChild: flags['max-memory-per-child'] }),
  ...(flags['shutdown-timeout'] !== undefined && { shutdownTimeout: flags['shutdown-timeout'] }),
})
