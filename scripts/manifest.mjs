import { Plugin } from '@oclif/core'

/** oclif's description of the commands, made from their classes instead of from files it would have to find. */
class CommandMapPlugin extends Plugin {
  constructor(root, pjson, commands) {
    super({ root, pjson, isRoot: true, ignoreManifest: true, errorOnManifestCreate: true, respectNoCacheDefault: true })
    this.commandMap = commands
  }

  async getCommandIDs() {
    return Object.keys(this.commandMap)
  }

  async findCommand(id) {
    const { default: command } = await this.commandMap[id]()
    command.id = id
    return command
  }
}

/** @param root the package's folder  @param commands ids and what imports each */
export async function describeCommands(root, pjson, commands) {
  const plugin = new CommandMapPlugin(root, pjson, commands)
  await plugin.load()
  return plugin.manifest
}
