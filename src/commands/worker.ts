import { Flags } from '@oclif/core'
import { importApp } from '../lib/cli/app-module.js'
import { LedgerCommand } from '../lib/cli/command.js'
import { LOG_LEVELS, logEvents } from '../lib/cli/worker-log.js'
import { ConfigurationError } from '../lib/task/errors.js'

/** As a shell says of a program that a signal ended. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const

export default class Worker extends LedgerCommand {
  static override summary = 'Run tasks.'
  static override description =
    'Imports the app module, takes messages of its queues and runs their tasks until it is told to stop. The first SIGTERM or SIGINT (Ctrl-C) lets running tasks finish; ' +
    'the second gives late-ack tasks back to their queue and ends at once, and early-ack ones are listed as lost when their lease has run out.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --app ./tasks.mjs',
    '<%= config.bin %> <%= command.id %> --app ./tasks.mjs -Q mail,default -c 50',
    '<%= config.bin %> <%= command.id %> --app ./tasks.mjs --no-sender --log-level warning',
  ]
  static override flags = {
    app: Flags.string({ summary: 'The module that exports app. Default: the setting app.', helpValue: 'MODULE' }),
    concurrency: Flags.integer({ char: 'c', summary: 'How many tasks run at one time.', min: 1, helpValue: 'N' }),
    queues: Flags.string({
      char: 'Q',
      summary: 'Take messages of these queues. Default: the setting defaultQueue.',
      delimiter: ',',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAMES',
    }),
    sender: Flags.boolean({ summary: 'Also send what is due. Default: yes.', default: true, allowNo: true }),
    'log-level': Flags.option({ summary: 'How much is logged.', options: LOG_LEVELS, default: 'info' })(),
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
    logEvents(app, this.globals?.quiet ? 'error' : flags['log-level'], (line) => process.stderr.write(`${line}\n`))

    const worker = app.worker({
      sender: flags.sender,
      ...(flags.concurrency !== undefined && { concurrency: flags.concurrency }),
      ...(flags.queues && { queues: flags.queues }),
    })
    const signals = this.stopOnSignals(worker)
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
    this.say('Stopped.')
    return { version: 1, kind: 'worker', workerId: worker.workerId }
  }

  private stopOnSignals(worker: { stop(options?: { now: boolean }): void }) {
    let cold: keyof typeof EXIT_CODES | null = null
    let warm = false
    const onSignal = (signal: NodeJS.Signals) => {
      if (warm) cold = signal === 'SIGINT' ? 'SIGINT' : 'SIGTERM'
      else this.say('Stopping: running tasks are being finished. Once more to end now.')
      worker.stop({ now: warm })
      warm = true
    }
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, onSignal)
    return {
      off: () => {
        for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal)
      },
      get cold() {
        return cold
      },
    }
  }
}
