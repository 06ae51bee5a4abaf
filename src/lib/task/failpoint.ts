/**
 * The instants at which a crash would leave something different behind: before and after each commit, and before and
 * after each word to a broker, or to a store of Celery's results, that lives elsewhere. test/crash/matrix.test.ts interrupts the
 * program at every one, engines.test.ts beside it on other engines, celery-results.test.ts at those of results.
 */
export const FAILPOINTS = [
  'publish:before',
  'publish:recorded',
  'send:before',
  'send:handed',
  'send:marked',
  'follow:recorded',
  'claim:before',
  'claim:received',
  'start:before',
  'start:committed',
  'body:before',
  'body:after',
  'finish:before',
  'finish:committed',
  'retry:before',
  'retry:committed',
  'refuse:before',
  'refuse:committed',
  'return:before',
  'return:committed',
  'ack:before',
  'ack:after',
  'sender:before',
  'sender:claimed',
  'sender:recorded',
  'sweep:before',
  'sweep:committed',
  'rescue:before',
  'rescue:committed',
  'revoke:before',
  'revoke:committed',
  'purge:before',
  'purge:committed',
  'result:before',
  'result:stored',
  'result:released',
  'result:told',
] as const
export type FailpointName = (typeof FAILPOINTS)[number]

/** Told of each failpoint as it is reached; a part like the clock, so that a test can interrupt the program there. */
export type Failpoint = (name: FailpointName) => void | Promise<void>

export const NO_FAILPOINT: Failpoint = () => {}
