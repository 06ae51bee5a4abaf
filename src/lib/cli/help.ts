import { type Command, Help } from '@oclif/core'

/** Help that lists every command, those of a family too, in the order of the command map. */
export class LedgerHelp extends Help {
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
