import { dirname, resolve } from 'node:path'
import { lilconfig } from 'lilconfig'
import { ConfigurationError } from '../task/errors.js'
import { nearest } from './nearest.js'
import { checkSettings, DEFAULTS, SETTING_NAMES, type Settings } from './settings.js'

export type Environment = Readonly<Record<string, string | undefined>>

/** The environment of this process; nothing else in the program reads it. */
const environment = (): Environment => process.env

/** Where settings come from, each layer over the next: flags, environment, the app module's own, the file, the defaults. */
export interface SettingSources {
  readonly flags?: Partial<Settings>
  readonly env?: Environment
  /** What `createApp` was given. */
  readonly code?: Partial<Settings>
  readonly cwd?: string
  /** Default: the nearest taskledger.config.{js,mjs,json} from `cwd` upwards. */
  readonly configFile?: string | undefined
  /** Imports a configuration module. Default: `import()`. */
  readonly load?: (path: string) => Promise<unknown>
}

const PREFIX = 'TASKLEDGER_'

/** `TASKLEDGER_DEFAULT_QUEUE` for `defaultQueue`. */
export const variableOf = (setting: string): string => PREFIX + setting.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

/** A variable's text as the setting's type: text stays text where text is expected, anything else is read as JSON. */
function readVariable(setting: keyof Settings, text: string): unknown {
  const expectsText = typeof DEFAULTS[setting] === 'string' || ['app', 'celeryResults', 'rateLimit'].includes(setting)
  if (expectsText) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** A misspelt variable would leave a setting at its default, and nobody would know. */
function refuseUnknownVariables(env: Environment): void {
  const known = SETTING_NAMES.map((setting) => variableOf(setting).slice(PREFIX.length))
  const given = Object.keys(env).filter((variable) => variable.startsWith(PREFIX) && env[variable])
  const unknown = given.map((variable) => variable.slice(PREFIX.length)).find((variable) => !known.includes(variable))
  if (unknown === undefined) return
  const meant = nearest(unknown, known)
  const hint = meant ? `did you mean ${PREFIX}${meant}?` : `after ${PREFIX} comes one of ${known.join(', ')}`
  throw new ConfigurationError(`the environment: there is no setting named ${PREFIX}${unknown}`, { hint })
}

function settingsOfEnvironment(env: Environment): Partial<Settings> {
  refuseUnknownVariables(env)
  const given: Partial<Settings>[] = []
  for (const setting of SETTING_NAMES) {
    const variable = variableOf(setting)
    const text = env[variable]
    if (text !== undefined && text !== '') given.push(checkSettings({ [setting]: readVariable(setting, text) }, variable))
  }
  return Object.assign({}, ...given) as Partial<Settings>
}

const CONFIG_FILES = ['taskledger.config.js', 'taskledger.config.mjs', 'taskledger.config.json']

/** Where a relative path in a configuration file starts from: the file's own folder. */
function anchored(settings: Partial<Settings>, folder: string): Partial<Settings> {
  const { app, database } = settings
  const file = /^sqlite:(?!:memory:)(.+)$/.exec(database ?? '')?.[1]
  return { ...settings, ...(app ? { app: resolve(folder, app) } : {}), ...(file ? { database: `sqlite:${resolve(folder, file)}` } : {}) }
}

async function settingsOfFile(cwd: string, file: string | undefined, load: (path: string) => Promise<unknown>): Promise<Partial<Settings>> {
  let path = file === undefined ? undefined : resolve(cwd, file)
  const importDefault = async (found: string) => {
    path = found // known here first: an error of lilconfig's does not name it
    const module = await load(found)
    return typeof module === 'object' && module !== null && 'default' in module ? module.default : module
  }
  const parseJson = (found: string, text: string): unknown => {
    path = found
    return JSON.parse(text)
  }
  const loaders = { '.js': importDefault, '.mjs': importDefault, '.json': parseJson }
  const search = lilconfig('taskledger', { searchPlaces: CONFIG_FILES, loaders })
  try {
    const found = path === undefined ? await search.search(cwd) : await search.load(path)
    if (!found || found.isEmpty) return {}
    return anchored(checkSettings(found.config, found.filepath), dirname(found.filepath))
  } catch (cause) {
    if (cause instanceof ConfigurationError) throw cause
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new ConfigurationError(`the configuration file ${path ?? `in or above ${cwd}`} cannot be read: ${message}`, {
      cause,
      hint: 'correct the file, or name another with --config',
    })
  }
}

const importFile = async (path: string): Promise<unknown> => import((await import('node:url')).pathToFileURL(path).href)

/** @throws {ConfigurationError} for a setting that is unknown or of the wrong type, and for a file that cannot be read */
export async function readSettings(sources: SettingSources): Promise<Settings> {
  const { flags = {}, env = environment(), code = {}, cwd = process.cwd(), configFile, load = importFile } = sources
  return { ...DEFAULTS, ...(await settingsOfFile(cwd, configFile, load)), ...code, ...settingsOfEnvironment(env), ...flags }
}
