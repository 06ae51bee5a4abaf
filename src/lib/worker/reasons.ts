import type { ErrorRecord } from '../task/outcome.js'

/** Why a worker ends, or gives back, a task whose body did not say so itself. */

export const shutDown: ErrorRecord = { type: 'WorkerShutdown', message: 'its worker was shut down before it ended', traceback: null }

/** @param deliveries without those that were given back */
export const poisoned = (deliveries: number): ErrorRecord => ({
  type: 'WorkerLostError',
  message: `delivered ${deliveries - 1} times, and no worker lived to finish it`,
  traceback: null,
})

export function unknownTask(task: string, names: Iterable<string>): ErrorRecord {
  const known = [...names].join(', ') || 'none'
  return { type: 'NotRegistered', message: `no task named '${task}' is registered; this worker knows ${known}`, traceback: null }
}
