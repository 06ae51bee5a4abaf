import { Flags } from '@oclif/core'
import { reasonFlag } from '../lib/cli/flags.js'
import { StaleCommand, staleFlags } from '../lib/cli/stale-command.js'
import { FINAL_STATUSES } from '../lib/task/status.js'

export default class FindStaleTasks extends StaleCommand {
  static override summary = 'List tasks that should have ended by now, oldest first.'
  static override description =
    'A task is stale when it has not ended and nothing has touched it for the time given; without a time, every task that has not ended is. ' +
    'The reason says what to do: unpublished and overdue tasks are sent by a sender (send-scheduled), unclaimed ones wait for a worker, ' +
    'lost ones need a retry, stuck ones are still being worked on. Tasks that wait for their eta are never stale here; see find-stale-scheduled.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --hours 1',
    '<%= config.bin %> <%= command.id %> --older-than 1h30m --reason lost --json',
    '<%= config.bin %> <%= command.id %> --hours 1 --check --quiet',
  ]
  static override flags = {
    ...staleFlags,
    'terminal-state': Flags.string({
      summary: 'A status that counts as ended. Repeatable; replaces the default, which is every final status.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'STATUS',
    }),
    reason: reasonFlag(['unpublished', 'unclaimed', 'lost', 'stuck', 'overdue', 'ended']),
  }

  async run() {
    const { flags } = await this.parse(FindStaleTasks)
    const terminalStates = flags['terminal-state'] ?? [...FINAL_STATUSES]
    const app = await this.app('read')
    const found = await app.tasks.findStale({ ...this.query(flags), terminal: terminalStates })
    const document = await this.tell(found, flags, { kind: 'stale-tasks', rows: 'stale tasks', since: 'Last update' })
    return { ...document, terminalStates }
  }
}
