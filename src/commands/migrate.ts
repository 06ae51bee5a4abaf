import { Args, Flags } from '@oclif/core'
import { LedgerCommand } from '../lib/cli/command.js'
import { bulkFlags } from '../lib/cli/flags.js'
import { Database } from '../lib/database/database.js'
import { type MigrationStep, migrateTo, migrationPlan } from '../lib/database/migrate.js'

export default class Migrate extends LedgerCommand {
  static override summary = "Bring the ledger's tables to this program's version."
  static override description =
    'Makes the database if there is none. With the name of a migration it goes forward or back to it, with zero back to ' +
    'nothing; going back drops tables and what is in them, so it asks first.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --check --database sqlite:/srv/app/ledger.db',
    '<%= config.bin %> <%= command.id %> zero --yes',
  ]
  static override args = { target: Args.string({ description: 'A migration, or zero. Default: the newest.', ignoreStdin: true }) }
  static override flags = {
    ...bulkFlags,
    check: Flags.boolean({ summary: 'Change nothing; exit 1 when there is something to do.', exclusive: ['dry-run'] }),
  }

  async run() {
    const { args, flags } = await this.parse(Migrate)
    const changes = !flags.check && !flags['dry-run']
    const { database: url } = await this.settings()
    const database = this.closing(await Database.open(url, changes ? 'create' : 'read'))
    const plan = await migrationPlan(database, args.target)

    const back = plan.filter((step) => step.direction === 'down')
    const question = `Take back ${back.map((step) => step.name).join(', ')}, and drop what is in their tables?`
    const agreed = !changes || back.length === 0 || (await this.agreed(question, flags))
    const done = changes && agreed
    const steps = done ? await migrateTo(database, args.target, (step) => this.log(`${doing(step)}... OK`)) : plan
    if (!changes) for (const step of plan) this.log(doing(step))
    if (steps.length === 0) this.log('No migrations to apply.')
    if (flags.check && plan.length > 0) this.exitCode = 1
    return { version: 1, kind: 'migrate', changed: done && steps.length > 0, steps }
  }
}

const doing = ({ name, direction }: MigrationStep): string => `${direction === 'up' ? 'Applying' : 'Taking back'} ${name}`
