import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** The folders of all packages below a node_modules folder, those inside other packages too. */
export function packagesIn(modules) {
  if (!existsSync(modules)) return []
  const names = readdirSync(modules).filter((name) => !name.startsWith('.'))
  const folders = names.flatMap((name) => (name.startsWith('@') ? packagesIn(join(modules, name)) : [join(modules, name)]))
  const installed = folders.filter((folder) => existsSync(join(folder, 'package.json')))
  return [...installed, ...installed.flatMap((folder) => (folder === modules ? [] : packagesIn(join(folder, 'node_modules'))))]
}
