import { ConfigurationError, UsageError } from './errors.js'

/** Where a message is sent: straight to a queue, or to an exchange of the broker's, which goes by the routing key. */
export interface Destination {
  /** Empty where only the exchange knows it. */
  readonly queue: string
  /** Empty: the message goes to the queue. */
  readonly exchange: string
  readonly routingKey: string
}

/** What a call, a task or a route says of where a message is sent. */
export interface Address {
  readonly queue?: string | undefined
  readonly exchange?: string | undefined
  readonly routingKey?: string | undefined
}

/** A queue, or an exchange with its routing key (default: empty, for exchanges that do not go by it). */
export type Route = string | { readonly queue: string } | { readonly exchange: string; readonly routingKey?: string | undefined }

/** The settings that decide where a task is sent of which nobody says it. */
export interface Routing {
  readonly defaultQueue: string
  /** Globs on task names, and where such tasks go. */
  readonly routes: Readonly<Record<string, Route>>
}

/** Where a task goes: the first of `said` that says anything of it decides alone, then the route of its name, then the default queue. */
export function destinationOf(task: string, said: readonly Address[], { defaultQueue, routes }: Routing): Destination {
  const { queue, exchange, routingKey = '' } = said.find(isSaid) ?? routed(task, routes) ?? { queue: defaultQueue }
  if (exchange) return { queue: queue ?? '', exchange, routingKey }
  return toQueue(queue ?? defaultQueue)
}

/** Straight to a queue. */
export const toQueue = (queue: string): Destination => ({ queue, exchange: '', routingKey: queue })

/** A destination as a call says it. */
export function addressOf({ queue, exchange, routingKey }: Destination): Partial<Destination> {
  return exchange === '' ? { queue } : { ...(queue === '' ? {} : { queue }), exchange, routingKey }
}

/** Whether a call decides where its task goes. A routing key alone does not. */
export const isSaid = ({ queue, exchange }: Address): boolean => queue !== undefined || (exchange !== undefined && exchange !== '')

const QUEUES_ONLY = { hint: 'give a queue, or set broker to amqp://HOST' }

/** What a broker without exchanges says of a task that is to go to one. */
export const noExchange = (task: string, exchange: string): UsageError =>
  new UsageError(`the task ${task} is to go to the exchange ${exchange}, but the embedded broker has no exchanges`, QUEUES_ONLY)

/** @throws {ConfigurationError} for a route to an exchange, where the broker has none */
export function checkRoutesToQueues(routes: Routing['routes']): void {
  for (const [name, route] of Object.entries(routes)) {
    if (typeof route === 'string' || !('exchange' in route)) continue
    const message = `routes: ${name} goes to the exchange ${route.exchange}, but the embedded broker has no exchanges`
    throw new ConfigurationError(message, QUEUES_ONLY)
  }
}

/** The route of exactly this name, else the first whose glob matches it (`*` any text, `?` one character). */
function routed(task: string, routes: Routing['routes']): Address | undefined {
  const found = Object.hasOwn(routes, task) ? routes[task] : Object.entries(routes).find(([glob]) => matches(task, glob))?.[1]
  return typeof found === 'string' ? { queue: found } : found
}

function matches(task: string, glob: string): boolean {
  const pattern = glob
    .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${pattern}$`, 's').test(task)
}
