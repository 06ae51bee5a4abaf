/** Celery's form of a handle as data: its id, what came before it in its workflow, and of a group its members. */
export type ResultTuple = readonly [readonly [id: string, before: ResultTuple | null], members: readonly ResultTuple[] | null]

/** A handle on the result of a task or a group. */
export interface ResultHandle {
  asTuple(): ResultTuple
}

export const isResultHandle = (value: unknown): value is ResultHandle =>
  typeof value === 'object' && value !== null && 'asTuple' in value && typeof value.asTuple === 'function'
