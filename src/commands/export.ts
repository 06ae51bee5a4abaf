import { Flags } from '@oclif/core'
import { LedgerCommand } from '../lib/cli/command.js'
import { ageMs, durationFlags, filterFlags, filterOf } from '../lib/cli/flags.js'
import { writeToFile, writeToStdout } from '../lib/cli/output.js'
import { EXPORT_FORMATS, type ExportFormat } from '../lib/ledger/export.js'
import { UsageError } from '../lib/task/errors.js'

const STDOUT = '-'

export default class Export extends LedgerCommand {
  static override summary = 'Write recorded tasks to a file, as JSON, NDJSON, CSV or TSV.'
  static override description =
    'Oldest first, in constant memory. A file appears under its name once it is whole. Without --output, and with --output -, the data goes to stdout.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --since 7d --output week.csv',
    '<%= config.bin %> <%= command.id %> --status FAILURE --format ndjson | head -3',
    '<%= config.bin %> <%= command.id %> --fields taskId,task,status,result --output audit.tsv --excel-safe',
  ]
  static override flags = {
    ...filterFlags,
    ...durationFlags,
    output: Flags.string({ char: 'o', summary: 'Write to this file; - is stdout.', default: STDOUT, helpValue: 'FILE' }),
    format: Flags.option({ summary: "Default: by the file's ending, else ndjson.", options: EXPORT_FORMATS })(),
    fields: Flags.string({
      summary: 'Only these fields, in this order, with commas between them.',
      delimiter: ',',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAMES',
    }),
    'excel-safe': Flags.boolean({ summary: 'In CSV and TSV, keep a spreadsheet from running a cell as a formula.' }),
  }

  async run() {
    const { flags } = await this.parse(Export)
    if (this.jsonEnabled() && flags.output === STDOUT) {
      throw new UsageError('--json tells what was exported, and needs --output FILE for the data', {
        hint: 'for the data as JSON on stdout: --format json',
      })
    }
    const format = flags.format ?? formatOf(flags.output)
    const app = await this.app('read')
    const age = ageMs(flags)
    const filter = { ...filterOf(flags), ...(age > 0 && { cutoff: new Date(Date.now() - age) }) }
    const bar = await this.progress('Exporting', process.stderr.isTTY ? await app.tasks.count(filter) : 0)
    const chunks = app.tasks.export(filter, { format, excelSafe: flags['excel-safe'], ...(flags.fields && { fields: flags.fields }) })
    const write = flags.output === STDOUT ? writeToStdout : (...how: Parameters<typeof writeToStdout>) => writeToFile(flags.output, ...how)
    const written = await write(chunks, (rows) => bar.advance(rows))
    bar.stop()
    if (flags.output !== STDOUT) this.log(`Exported ${written.rows} rows to ${flags.output} (${(written.bytes / 1e6).toFixed(1)} MB).`)
    return { version: 1, kind: 'export', format, file: flags.output, rows: written.rows, bytes: written.bytes }
  }
}

const formatOf = (file: string): ExportFormat => EXPORT_FORMATS.find((format) => file.endsWith(`.${format}`)) ?? 'ndjson'
