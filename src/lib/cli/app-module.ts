import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { App } from '../app/app.js'
import { ConfigurationError } from '../task/errors.js'

/** The module is the user's own, and may bring a copy of this package of its own: what counts is what the app can do. */
function isApp(value: unknown): value is App {
  return typeof value === 'object' && value !== null && 'worker' in value && 'override' in value && 'close' in value
}

const isPath = (name: string): boolean => /^[./\\]|^[a-z]:[\\/]|\.[cm]?[jt]s$/i.test(name)

/** What to import for a path or the name of a package. A package is looked for from `cwd`, not from where this program is installed. */
function specifierOf(name: string, cwd: string): string {
  const hint = 'name a file, for example ./tasks.mjs, or an installed package'
  if (isPath(name)) {
    const file = resolve(cwd, name)
    if (!existsSync(file)) throw new ConfigurationError(`there is no app module at ${file}`, { hint })
    return pathToFileURL(file).href
  }
  try {
    return pathToFileURL(createRequire(join(cwd, 'from-here.js')).resolve(name)).href
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') return name // a package for import alone
    throw new ConfigurationError(`there is no app module ${name}: no package of that name is installed in ${cwd} or above`, { hint, cause })
  }
}

/**
 * The app that a module exports, as `app` or by default.
 *
 * @param name a path (from `cwd`), or the name of a package
 * @throws {ConfigurationError} when it cannot be imported or exports no app
 */
export async function importApp(name: string, cwd: string): Promise<App> {
  const specifier = specifierOf(name, cwd)
  let module: Record<string, unknown>
  try {
    module = (await import(specifier)) as Record<string, unknown>
  } catch (cause) {
    const message = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)
    throw new ConfigurationError(`the app module ${name} cannot be imported: ${message}`, {
      cause,
      hint: 'run it by itself with node to see where; --traceback shows the stack',
    })
  }
  const app = [module['app'], module['default']].find(isApp)
  if (!app)
    throw new ConfigurationError(`the app module ${name} exports no app; it exports ${Object.keys(module).join(', ') || 'nothing'}`, {
      hint: 'export const app = createApp()',
    })
  return app
}
