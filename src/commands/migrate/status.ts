import { LedgerCommand } from '../../lib/cli/command.js'
import { Database } from '../../lib/database/database.js'
import { migrationStatus } from '../../lib/database/migrate.js'

export default class MigrateStatus extends LedgerCommand {
  static override summary = 'Show which migrations the database has.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json']
  static override hiddenAliases = ['showmigrations']

  async run() {
    await this.parse(MigrateStatus)
    const { database: url } = await this.settings()
    const status = await migrationStatus(this.closing(await Database.open(url, 'read')))
    for (const name of status.applied) this.log(` [X] ${name}`)
    for (const name of status.pending) this.log(` [ ] ${name}`)
    for (const name of status.unknown) this.log(` [?] ${name}, of a newer program`)
    return { version: 1, kind: 'migration-status', ...status }
  }
}
