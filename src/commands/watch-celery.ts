import { Args, Flags } from '@oclif/core'
import { LedgerCommand } from '../lib/cli/command.js'
import { logFlags } from '../lib/cli/flags.js'
import { EXIT_CODES, onSignals } from '../lib/cli/signals.js'
import { fieldsOfWatch, lineOfWatch } from '../lib/cli/watch-log.js'
import { logErrors, openLog } from '../lib/cli/worker-log.js'
import { UsageError } from '../lib/task/errors.js'

export default class WatchCelery extends LedgerCommand {
  static override summary = 'Record the tasks of a Celery cluster from the events of its workers.'
  static override description =
    'Listens to the events that Celery workers send to RabbitMQ, and keeps a row for each task, so that list, show, export, find-stale-tasks and retry work for tasks that ' +
    'nobody published here; the row of one that was published here ends when Celery has ended the task. Nothing of the cluster is changed: workers started with -E are heard as they are, and --enable-events asks the others to send events too. ' +
    'Runs until SIGTERM or SIGINT (Ctrl-C).'
  static override examples = [
    '<%= config.bin %> <%= command.id %> amqp://guest:guest@localhost:5672//',
    '<%= config.bin %> <%= command.id %> amqp://watcher@rabbit.example/production --enable-events --log-format json',
  ]
  static override args = {
    url: Args.string({ description: "Celery's broker_url. Default: the setting broker.", ignoreStdin: true }),
  }
  static override flags = {
    'enable-events': Flags.boolean({ summary: 'Have running workers send events of their tasks, as celery control enable_events does.' }),
    ...logFlags,
  }

  async run() {
    const { args, flags } = await this.parse(WatchCelery)
    const [sources, { broker }] = [await this.sources(), await this.settings()]
    const url = args.url ?? broker
    if (url === 'sql:') {
      throw new UsageError("expected the URL of Celery's broker, got none", {
        hint: 'taskledger watch-celery amqp://USER:PASSWORD@HOST:PORT/VHOST',
      })
    }
    const { parseAddress } = await import('../lib/celery/address.js')
    parseAddress(url) // says what is wrong with it
    const { App } = await import('../lib/app/app.js')
    // what follows a task of ours goes where that went, which Celery has heard
    const own = broker === 'sql:' ? { ...sources, flags: { ...sources.flags, broker: url } } : sources
    const app = this.closing(new App(own, 'write'))
    const log = openLog(this.globals?.quiet ? 'error' : flags['log-level'], flags['log-format'], (line) =>
      process.stderr.write(`${line}\n`),
    )
    logErrors(app, log)
    const watcher = await app.watchCelery(url, { enableEvents: flags['enable-events'] }, (event) =>
      log(lineOfWatch(event), fieldsOfWatch(event)),
    )
    const off = this.stopOnSignals(() => {
      log(['info', 'Stopping: what came is being written. Once more to end now.'], {})
      watcher.stop()
    })
    try {
      await watcher.run()
    } finally {
      off()
    }
    log(['info', 'Stopped.'], {})
    return { version: 1, kind: 'watch-celery', watched: watcher.watched, ...watcher.counts }
  }

  /** The first signal stops, the second ends the process where it stands. */
  private stopOnSignals(stop: () => void): () => void {
    let stopping = false
    return onSignals(['SIGINT', 'SIGTERM'], (signal) => {
      if (stopping) process.exit(EXIT_CODES[signal])
      stopping = true
      stop()
    })
  }
}
