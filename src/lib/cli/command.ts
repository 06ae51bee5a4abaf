import { Command, type Interfaces } from '@oclif/core'
import type { ChalkInstance } from 'chalk'
import type { App } from '../app/app.js'
import type { Environment, SettingSources } from '../app/setting-sources.js'
import type { Settings } from '../app/settings.js'
import { isAsked } from './asked.js'
import { wantsColour } from './colour.js'
import { usageErrorOf } from './failure.js'
import { globalFlags } from './flags.js'
import { printable, printableLines } from './printable.js'
import { openProgress, type Progress } from './progress.js'
import { type Column, formatTable } from './table.js'

/** What the parser returns: values by name. */
type Parsed = Interfaces.OutputFlags<Interfaces.FlagInput>

type GlobalFlags = Interfaces.InferredFlags<typeof globalFlags>

/** What a command opens and must close again. */
interface Closable {
  close(): Promise<void>
}

/**
 * What every command is: `run` returns the document that `--json` prints, says the rest with `log` (the answer) and
 * `say` (the talk), and throws a `PlainError` for whatever a person can put right. Printing an error and ending the
 * process is the program's affair, so a command called from code just throws.
 */
export abstract class LedgerCommand extends Command {
  static override baseFlags = globalFlags

  /** The exit code of a run that does not throw; `--check` makes it 1. */
  exitCode = 0

  /** Where settings and colours may come from besides the flags; undefined stands for this process's environment. */
  env: Environment | undefined

  /** Known once `parse` has run. */
  protected globals: GlobalFlags | null = null

  private readonly opened: Closable[] = []
  private bar: Progress | null = null

  /** Runs the command to its end: everything it opened is closed, and the document is printed. */
  execute(): Promise<unknown> {
    return this._run()
  }

  override jsonEnabled(): boolean {
    return isAsked(this.argv, '--json')
  }

  /** Prints a line of the answer. What a terminal would obey is shown instead: a task's name may have been written by anybody. */
  override log(line = ''): void {
    this.print(printable(line))
  }

  override warn(input: Error | string): Error | string {
    process.stderr.write(`taskledger: warning: ${printableLines(input instanceof Error ? input.message : input)}\n`)
    return input
  }

  /** Prints `rows` as a table that fits the screen. */
  async logTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): Promise<void> {
    this.print(await formatTable(columns, rows, process.stdout.columns ?? 80))
  }

  // oclif's own _run exits 1 for every error under --json, prints no document for null, 0 and '', and sets the
  // exit code of a process that only called the command from code.
  protected override async _run<T>(): Promise<T> {
    let result: T
    try {
      result = await this.run()
    } catch (error) {
      await this.closeAll().catch(() => {}) // the first error is the one to tell
      throw error
    }
    await this.closeAll()
    if (this.jsonEnabled()) this.logJson(result)
    return result
  }

  protected override logJson(document: unknown): void {
    process.stdout.write(`${JSON.stringify(document ?? null, null, 2)}\n`)
  }

  protected override async parse<F extends Parsed, B extends Parsed, A extends Parsed>(
    options?: Interfaces.Input<F, B, A>,
    argv?: string[],
  ): Promise<Interfaces.ParserOutput<F, B, A>> {
    try {
      const parsed = await super.parse(options, argv)
      const flags: Parsed = parsed.flags
      this.globals = flags as GlobalFlags
      return parsed
    } catch (error) {
      const known = Object.keys({ ...this.ctor.baseFlags, ...this.ctor.flags }).map((name) => `--${name}`)
      throw error instanceof Error ? usageErrorOf(error, known) : error
    }
  }

  /** Where settings come from, for a command: its flags before everything else. */
  protected async sources(): Promise<SettingSources> {
    const { checkSettings } = await import('../app/settings.js')
    const { database, broker, config: configFile } = this.globals ?? {}
    const flags = checkSettings({ database, broker }, 'the command line')
    return { flags, configFile, ...(this.env && { env: this.env }) }
  }

  /**
   * What flags, environment and configuration file come to.
   *
   * @throws {ConfigurationError} when one of them is wrong
   */
  protected async settings(): Promise<Settings> {
    const { readSettings } = await import('../app/setting-sources.js')
    return readSettings(await this.sources())
  }

  /**
   * The app these settings describe; it is closed when the command ends.
   *
   * @param mode `read` for a command that only looks: it can then neither change nor create anything
   */
  protected async app(mode: 'read' | 'write'): Promise<App> {
    const { App } = await import('../app/app.js')
    const app = this.closing(new App(await this.sources(), mode))
    return app.on('error', (error) => this.warn(error instanceof Error ? error : String(error)))
  }

  /** Remembers to close `part` when the command ends, however it ends; the last opened is closed first. */
  protected closing<T extends Closable>(part: T): T {
    this.opened.push(part)
    return part
  }

  /** Whether a person is looking at stdout. */
  protected get onTerminal(): boolean {
    return process.stdout.isTTY === true
  }

  /** Tells the person something that is not the answer, on stderr; `--quiet` and `--json` want none of it. */
  protected say(text: string): void {
    if (!this.globals?.quiet && !this.jsonEnabled()) process.stderr.write(`${printable(text)}\n`)
  }

  /** Whether the person agrees; if not, the exit code says that what was asked for was not done. */
  protected async agreed(question: string, flags: { readonly yes: boolean }): Promise<boolean> {
    const { confirm } = await import('./confirm.js')
    const agreed = await confirm(question, flags)
    if (!agreed) this.exitCode = 1
    return agreed
  }

  /** Prints a part of the answer as it is; `--json` wants the document only. */
  protected print(text: string): void {
    if (!this.jsonEnabled()) process.stdout.write(`${text}\n`)
  }

  /** Colours for stdout; where none are wanted it returns text as it is. */
  protected async colours(): Promise<ChalkInstance> {
    const { Chalk } = await import('chalk')
    return new Chalk({ level: wantsColour(process.stdout, this.env ?? {}, this.globals?.['no-color'] ?? false) ? 1 : 0 })
  }

  /** A bar on stderr for work on `total` things; it is taken away when the command ends. */
  protected async progress(label: string, total: number): Promise<Progress> {
    this.bar = await openProgress(label, total, !this.globals?.quiet && !this.jsonEnabled())
    return this.bar
  }

  private async closeAll(): Promise<void> {
    this.bar?.stop()
    for (let part = this.opened.pop(); part; part = this.opened.pop()) await part.close()
  }
}
