import { DEFAULT_RETRY_POLICY, type RetryPolicy } from './retry-policy.js'

/** What becomes of a task whose whole worker vanished after an early ack. */
export const ON_WORKER_LOST = ['report', 'fail', 'retry'] as const
export type OnWorkerLost = (typeof ON_WORKER_LOST)[number]

/** How a task runs. Names, units and defaults are Celery's; durations are seconds. */
export interface ExecutionOptions extends RetryPolicy {
  /** Ack after the run, so that a worker's death repeats the task instead of losing it. */
  readonly acksLate: boolean
  /** With `acksLate`: false lets a task that hit its time limit run again. */
  readonly acksOnFailureOrTimeout: boolean
  /** With `acksLate`: a task whose pool process died runs again instead of failing. */
  readonly rejectOnWorkerLost: boolean
  /** `report`: the row stays STARTED and is listed as lost; `fail`: FAILURE; `retry`: it runs again while a retry is left. */
  readonly onWorkerLost: OnWorkerLost
  /** Seconds after which `task.signal` is aborted; null: never. */
  readonly softTimeLimit: number | null
  /** Seconds after which the task is stopped; null: never. */
  readonly timeLimit: number | null
  /** False: the row stays PENDING while the task runs. */
  readonly trackStarted: boolean
  /** With `ignoreResult`: a failure leaves a row all the same. */
  readonly storeErrorsEvenIfIgnored: boolean
  /** How often the task is started, over all workers: `10/s`, `10/m` or `10/h`; null: as often as it comes. */
  readonly rateLimit: string | null
}

/** What a publish of a task starts from, unless the call says otherwise. */
export interface PublishDefaults {
  readonly queue: string | undefined
  readonly priority: number | undefined
  readonly expires: number | undefined
  readonly ignoreResult: boolean | undefined
  readonly resultExpires: number | null | undefined
}

export const DEFAULT_EXECUTION: ExecutionOptions = {
  ...DEFAULT_RETRY_POLICY,
  acksLate: false,
  acksOnFailureOrTimeout: true,
  rejectOnWorkerLost: false,
  onWorkerLost: 'report',
  softTimeLimit: null,
  timeLimit: null,
  trackStarted: true,
  storeErrorsEvenIfIgnored: false,
  rateLimit: null,
}

/** The options that may also be set for every task of an app. */
export type SettableOptions = Omit<ExecutionOptions, 'autoretryFor' | 'dontAutoretryFor' | 'throws'> & { readonly ignoreResult: boolean }

const { autoretryFor: _for, dontAutoretryFor: _dont, throws: _throws, ...settable } = DEFAULT_EXECUTION

export const SETTABLE_DEFAULTS: SettableOptions = { ...settable, ignoreResult: false }
