import type { TaskDefinition } from '../task/definition.js'
import { UsageError } from '../task/errors.js'
import { SETTABLE_DEFAULTS } from '../task/options.js'
import type { KnownTasks } from '../worker/intake.js'
import { builtin } from './builtin.js'
import type { KnownDefaults } from './defaults.js'
import type { Settings } from './settings.js'
import { defaultsOf, defineTask, type TaskOptions } from './task.js'

/** A task as it was declared, and as the settings complete it. */
interface Declared {
  readonly options: TaskOptions
  readonly run: (...args: never[]) => unknown
  definition: TaskDefinition | null
}

/** The tasks of an app, by name. */
export class DeclaredTasks {
  private readonly declared = new Map<string, Declared>()

  constructor(private readonly now: () => number) {}

  /**
   * What is wrong is said here, not in a worker.
   *
   * @throws {UsageError} for a second task of one name, or an option that does not exist
   */
  add(options: TaskOptions, run: (...args: never[]) => unknown): TaskDefinition {
    const definition = defineTask(options, run, SETTABLE_DEFAULTS)
    const { name } = definition
    if (this.declared.has(name) || builtin(name, () => null, this.now)) throw new UsageError(`a task named ${name} is registered already`)
    this.declared.set(name, { options, run, definition: null })
    return definition
  }

  /** The task with every choice made; null when there is none of the name. */
  definition(name: string, settings: Settings): TaskDefinition | null {
    const declared = this.declared.get(name)
    if (!declared) return builtin(name, (inner) => this.definition(inner, settings), this.now)
    declared.definition ??= defineTask(declared.options, declared.run, settings)
    return declared.definition
  }

  /** All of them, as a worker with these settings knows them. */
  known(settings: Settings): KnownTasks {
    return { get: (name) => this.definition(name, settings) ?? undefined, keys: () => this.declared.keys() }
  }

  /** What publishing a task starts from. */
  defaults(settings: Settings): KnownDefaults {
    return (task) => {
      const definition = this.declared.has(task) ? this.definition(task, settings) : null
      return definition && { ...defaultsOf(definition), errback: this.declared.get(task)?.options.errback ?? false }
    }
  }
}
