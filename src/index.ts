export { App, createApp, type RunningWorker, type WorkerOptions } from './lib/app/app.js'
export { chain, chord, chunks, group } from './lib/app/canvas.js'
export { GroupResult, type OrErrors } from './lib/app/group-result.js'
export type { HookTypes } from './lib/app/hooks.js'
export type { Result } from './lib/app/lineage.js'
export { AsyncResult } from './lib/app/result.js'
export type { Revoked } from './lib/app/revoke.js'
export type { Settings } from './lib/app/settings.js'
export type {
  AnyResult,
  AnySignature,
  ApplyOptions,
  Callback,
  Errback,
  ErrbackError,
  ErrbackRequest,
  GroupSignature,
  Signature,
  SignatureOptions,
} from './lib/app/signature.js'
export type { TaskOptions } from './lib/app/task.js'
export { TaskError, TimeoutError } from './lib/app/task-error.js'
export type { Task } from './lib/app/task-handle.js'
export type { PurgeTerms, RetryTerms, StaleQuery, TaskHistory, Tasks } from './lib/app/tasks.js'
export type { GetOptions } from './lib/app/waiting.js'
export type { Attempt, AttemptKind } from './lib/ledger/attempts.js'
export type { TaskFilter } from './lib/ledger/filter.js'
export type { TaskRow } from './lib/ledger/row.js'
export type { StaleReason, StaleRow } from './lib/ledger/stale.js'
export { type AfterPublish, type BeforePublish, RefusedError, TaskIdTakenError } from './lib/publish/publisher.js'
export type { PublishOptions } from './lib/publish/request.js'
export type { ResendTerms, Resent } from './lib/publish/resend.js'
export type { Sent } from './lib/schedule/sent.js'
export type { TaskContext, TaskRequest, TaskUpdate } from './lib/task/definition.js'
export { Ignore, Reject, Retry, SoftTimeLimitExceeded, TaskRevokedError } from './lib/task/ending.js'
export { BusyError, ConfigurationError, PlainError, UnavailableError, UsageError } from './lib/task/errors.js'
export { type Json, type JsonObject, NotJsonError } from './lib/task/json.js'
export type { TaskMessage } from './lib/task/message.js'
export type { ErrorRecord } from './lib/task/outcome.js'
export { MaxRetriesExceededError, type RetryOptions } from './lib/task/retry-policy.js'
export type { Canvas, Composed } from './lib/task/signature.js'
export { compareStatuses, FINAL_STATUSES, STATUSES, type Status } from './lib/task/status.js'
export type { WorkerEvent } from './lib/worker/events.js'
