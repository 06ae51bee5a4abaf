import { ConfigurationError } from '../task/errors.js'
import { isJsonObject, type Json } from '../task/json.js'
import type { TaskMessage } from '../task/message.js'
import type { StoredOptions } from './row.js'

export const REDACTED = '[redacted]'

/** The arguments of a message as its row holds them. */
export interface StoredArguments {
  readonly args: string
  readonly kwargs: string
  readonly options: string
}

/**
 * Which arguments the ledger must not keep, as paths: `kwargs.token`, `args[0].card`, `kwargs.users[*].email`.
 *
 * A row that still waits to be sent holds them, because sending needs them; the move that publishes its message
 * removes them. So a published row never holds a redacted value, and can never be sent again from the ledger.
 */
export class Redaction {
  private readonly paths: readonly (readonly string[])[]

  /** @throws {ConfigurationError} for a path that begins with neither args nor kwargs */
  constructor(private readonly spelled: readonly string[]) {
    this.paths = spelled.map((path) => {
      const steps = path.replaceAll(/\[(\d+|\*)\]/g, '.$1').split('.')
      if (steps.length < 2 || !['args', 'kwargs'].includes(steps[0] ?? '') || steps.includes('')) {
        throw new ConfigurationError(`redact: expected paths such as kwargs.token or args[0].card, got: ${path}`)
      }
      return steps
    })
  }

  /** @param published whether the message is, or in this same commit becomes, the broker's */
  stored(message: TaskMessage, published: boolean): StoredArguments {
    const whole = { args: message.args as Json, kwargs: message.kwargs as Json }
    const found = published ? this.spelled.filter((_, i) => holds(whole, this.paths[i] ?? [])) : []
    if (found.length === 0) {
      return { args: JSON.stringify(message.args), kwargs: JSON.stringify(message.kwargs), options: JSON.stringify(message.options) }
    }
    const cut = this.paths.reduce<Json>((value, path) => without(value, path), whole) as { args: Json; kwargs: Json }
    const options: StoredOptions = { ...message.options, redacted: found }
    return { args: JSON.stringify(cut.args), kwargs: JSON.stringify(cut.kwargs), options: JSON.stringify(options) }
  }
}

/** The entries of `value` that one step of a path leads to. */
function entries(value: Json, step: string): [string, Json][] {
  if (!Array.isArray(value) && !isJsonObject(value)) return []
  return Object.entries(value as Record<string, Json>).filter(([key]) => step === '*' || key === step)
}

function holds(value: Json, [step, ...rest]: readonly string[]): boolean {
  if (step === undefined) return true
  return entries(value, step).some(([, inner]) => holds(inner, rest))
}

function without(value: Json, [step, ...rest]: readonly string[]): Json {
  if (step === undefined) return REDACTED
  const changed = Object.fromEntries(entries(value, step).map(([key, inner]) => [key, without(inner, rest)]))
  if (Array.isArray(value)) return value.map((inner, i) => changed[i] ?? inner)
  return isJsonObject(value) ? { ...value, ...changed } : value
}
