import assert from 'node:assert/strict'
import type { Outcome } from '../../src/lib/task/outcome.js'
import { verdictOn } from '../../src/lib/worker/verdict.js'

const error = { type: 'Error', message: 'boom', traceback: null }
const END_ACK = { kind: 'end', message: 'ack' } as const
const END_REJECT = { kind: 'end', message: 'reject' } as const
const AGAIN = { kind: 'again', error } as const

const succeeded: Outcome = { kind: 'succeeded', result: 1, text: '1' }
const retrying: Outcome = { kind: 'retrying', eta: 0, error, changes: {} }
const failed: Outcome = { kind: 'failed', error, expected: false }
const timedOut: Outcome = { kind: 'timed-out', error }
const lost: Outcome = { kind: 'lost', error }
const ignored: Outcome = { kind: 'ignored' }
const revoked: Outcome = { kind: 'revoked', reason: 'terminated' }
const rejected = (requeue: boolean): Outcome => ({ kind: 'rejected', requeue, error })

const EARLY = { acksLate: false, acksOnFailureOrTimeout: true, rejectOnWorkerLost: false }
const LATE = { ...EARLY, acksLate: true }

/** Celery's decision table on completion (worker/request.py), and what each of its rows is with an early ack. */
const TABLE = [
  ['success', succeeded, LATE, END_ACK],
  ['a retry', retrying, LATE, END_ACK],
  ['an error', failed, LATE, END_ACK],
  ['an error, acksOnFailureOrTimeout false', failed, { ...LATE, acksOnFailureOrTimeout: false }, END_REJECT],
  ['the hard time limit', timedOut, LATE, END_ACK],
  ['the hard time limit, acksOnFailureOrTimeout false', timedOut, { ...LATE, acksOnFailureOrTimeout: false }, AGAIN],
  ['a lost process', lost, LATE, END_ACK],
  ['a lost process, rejectOnWorkerLost', lost, { ...LATE, rejectOnWorkerLost: true }, AGAIN],
  ['Ignore', ignored, LATE, END_ACK],
  ['Reject', rejected(false), LATE, END_REJECT],
  ['Reject with requeue', rejected(true), LATE, AGAIN],
  ['a revoke with terminate', revoked, LATE, END_ACK],
  ['the hard time limit after an early ack', timedOut, { ...EARLY, acksOnFailureOrTimeout: false }, END_ACK],
  ['a lost process after an early ack', lost, { ...EARLY, rejectOnWorkerLost: true }, END_ACK],
  ['Reject with requeue after an early ack', rejected(true), EARLY, AGAIN],
] as const

describe('the verdict on an execution', () => {
  for (const [what, outcome, options, verdict] of TABLE) {
    it(`that ended with ${what} is: ${verdict.kind === 'end' ? `${verdict.message} its message, end its row` : 'run it again'}`, () => {
      assert.deepEqual(verdictOn(outcome, options), verdict)
    })
  }
})
