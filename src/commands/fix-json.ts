import { Flags } from '@oclif/core'
import { LedgerCommand } from '../lib/cli/command.js'

export default class FixJson extends LedgerCommand {
  static override summary = 'Make results that are bare text the JSON strings they were meant as.'
  static override description = 'Looks at every record once, in small steps. Valid results and all times stay as they are.'
  static override examples = ['<%= config.bin %> <%= command.id %> --dry-run', '<%= config.bin %> <%= command.id %>']
  static override flags = { 'dry-run': Flags.boolean({ summary: 'List what would be fixed, and fix nothing.', default: false }) }

  async run() {
    const { flags } = await this.parse(FixJson)
    const app = await this.app(flags['dry-run'] ? 'read' : 'write')
    const total = await app.tasks.count({})
    this.say(`Inspecting ${total} task results.`)
    const bar = await this.progress('Inspecting', total)
    let seen = 0
    const { inspected, fixed } = await app.tasks.fixJson(flags['dry-run'], (count) => {
      bar.advance(count - seen)
      seen = count
    })
    bar.stop()
    if (flags['dry-run']) for (const { taskId } of fixed) this.log(`  ${taskId}`)
    this.log(fixed.length === 0 ? 'No result to fix.' : `${flags['dry-run'] ? 'Would fix' : 'Fixed'} ${fixed.length} results.`)
    return { version: 1, kind: 'fix-json', dryRun: flags['dry-run'], inspected, fixed: fixed.map(({ taskId }) => taskId) }
  }
}
