import type { ErrorRecord } from '../task/outcome.js'

/** Why something of a workflow was never sent: no code of a task had a part in it. */
export const errorOf = (type: string, message: string): ErrorRecord => ({ type, message, traceback: null })

export const UNSENDABLE = errorOf('UnsendableRowError', 'its arguments are redacted')
