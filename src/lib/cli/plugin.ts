import type { Command, Config, Interfaces } from '@oclif/core'
import type { LedgerCommand } from './command.js'

/** Makes a command. oclif's own type of a command's class is abstract. */
export type MakesCommand = new (argv: string[], config: Config) => LedgerCommand

/** A command that can be made: the class a file in `commands/` exports by default. */
export type CommandClass = Command.Class & MakesCommand

/** Every command by its id, in the order help lists them. Only the one that runs is imported. */
export type CommandMap = Readonly<Record<string, () => Promise<{ readonly default: CommandClass }>>>

/** The program as oclif sees it, made at build time: names, flags and summaries without any of the code. */
export interface ProgramFacts {
  /** The package's folder. */
  readonly root: string
  readonly pjson: Interfaces.PJSON
  readonly manifest: Interfaces.Manifest
  readonly commands: CommandMap
}

export async function loadCommand(commands: CommandMap, id: string): Promise<CommandClass> {
  const load = commands[id]
  if (!load) throw new Error(`no command is registered as ${id}`)
  const { default: command } = await load()
  command.id = id
  return command
}

/** oclif's root plugin, in memory: reading it from files costs a third of the start. */
export function rootPlugin({ root, pjson, manifest, commands }: ProgramFacts): Interfaces.Plugin {
  const ids = Object.keys(commands).filter((id) => manifest.commands[id])
  const load = (id: string) => loadCommand(commands, id)
  return {
    _base: pjson.name,
    alias: pjson.name,
    commandIDs: ids,
    commands: ids.map((id) => ({ ...(manifest.commands[id] as Command.Cached), load: () => load(id) })),
    commandsDir: undefined,
    findCommand: (id: string) => load(id),
    hasManifest: true,
    hooks: {},
    isRoot: true,
    load: async () => {},
    moduleType: 'module',
    name: pjson.name,
    options: { root },
    pjson,
    root,
    topics: Object.entries(pjson.oclif.topics ?? {}).map(([name, topic]) => ({ ...topic, name })),
    type: 'core',
    valid: true,
    version: pjson.version,
  }
}
