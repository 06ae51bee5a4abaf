import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ConfigurationError } from '../task/errors.js'
import type { Pool } from '../worker/pool/pool.js'
import { ProcessPool } from '../worker/pool/process-pool.js'
import type { SettingSources } from './setting-sources.js'
import type { Settings } from './settings.js'

/** What a worker may say of its pool. */
export interface PoolOptions {
  /** `async` (default): bodies run side by side in this process; `processes`: each in one of `concurrency` child processes. */
  readonly pool?: 'async' | 'processes'
  /** For `processes`: the module that exports this app, which each child imports. Default: the setting `app`. */
  readonly module?: string
  /** For `processes`: tasks after which a child is replaced. Default: never. */
  readonly maxTasksPerChild?: number
  /** For `processes`: KiB of memory at which a child is replaced once its task has ended. Default: never. */
  readonly maxMemoryPerChild?: number
}

export function processPool(
  settings: Settings,
  processes: number,
  options: PoolOptions,
  { load: _, env: __, ...sources }: SettingSources,
  report: (error: unknown) => void,
): Pool {
  const module = options.module ?? settings.app
  if (!module)
    throw new ConfigurationError('a pool of processes needs the module that exports the app', {
      hint: 'give the option module, or the setting app',
    })
  const { maxTasksPerChild = null, maxMemoryPerChild = null } = options
  return new ProcessPool({ processes, module: moduleUrl(module, sources.cwd), sources, maxTasksPerChild, maxMemoryPerChild }, report)
}

/** What a child process can import: a URL, or a path from the working directory. */
const moduleUrl = (module: string, cwd = process.cwd()): string =>
  /^[a-z]{2,}:/i.test(module) ? module : pathToFileURL(resolve(cwd, module)).href
