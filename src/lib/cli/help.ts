import { type Command, CommandHelp, Help } from '@oclif/core'

/** Help that lists every command, those of a family too, in the order of the command map. */
export class LedgerHelp extends Help {
  protected override CommandHelpClass = LedgerCommandHelp

  protected override get sortedCommands(): Command.Loadable[] {
    return this.config.commands.filter((command) => !command.hidden)
  }

  protected override async showRootHelp(): Promise<void> {
    this.log(this.formatRoot())
    this.log('')
    this.log(this.formatCommands(this.sortedCommands))
    this.log('')
    this.log('Every command has help of its own: taskledger COMMAND --help')
  }
}

/** Help for one command, with what every command takes after what is its own. */
class LedgerCommandHelp extends CommandHelp {
  protected override defaultUsage(): string {
    return `${super.defaultUsage()} [FLAGS]`
  }

  /** The summary stands above everything already. */
  protected override description(): string | undefined {
    return this.command.description && this.wrap(this.command.description)
  }

  protected override groupFlags(flags: Command.Flag.Any[]): ReturnType<CommandHelp['groupFlags']> {
    const { mainFlags, flagGroups } = super.groupFlags(flags)
    const { GLOBAL = [], ...own } = flagGroups
    return { mainFlags, flagGroups: { ...own, GLOBAL } }
  }

  /** oclif trims a list as a whole, so the first flag would not stand in line with the others if it has no letter. */
  override renderList(...[rows, options]: Parameters<CommandHelp['renderList']>): string {
    const [[first = ''] = []] = rows
    const list = super.renderList(rows, options)
    const inColumns = !list.includes('\n\n') // on a narrow screen it is not
    return inColumns ? list.replace(first.trimStart(), () => first) : list
  }
}
