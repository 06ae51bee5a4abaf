import { freeze } from '../canvas/freeze.js'
import { begin } from '../canvas/launch.js'
import { applyOptions } from '../canvas/options.js'
import { merge } from '../canvas/signature.js'
import { runningTask } from '../task/definition.js'
import { newTaskId } from '../task/id.js'
import type { Canvas, SignatureOptions as SignatureData } from '../task/signature.js'
import { checkApplyOptions, checkArguments, checkKwargs, checkScope, instantOf } from './checked.js'
import { type KnownDefaults, withDefaults } from './defaults.js'
import { handlesOf } from './handle.js'
import type { Parts } from './parts.js'
import { asGroup, resultOf } from './results-of.js'
import type { Settings } from './settings.js'
import type { AnyResult, UntypedOptions } from './signature.js'

/**
 * Sends a canvas: what is to run first, with what follows in its messages and in the ledger, in one commit. Inside a task it is
 * a child of that.
 *
 * @param grouped how many results the group has that it ends in; null: it ends in none
 * @throws {UsageError} for an option that is unknown or of the wrong type
 * @throws {TaskIdTakenError} when one of its ids is recorded already
 */
export async function sendCanvas(
  canvas: Canvas,
  { trx, args = [], kwargs = {}, link, linkError, scope = 'first', workflowExpires, ...own }: UntypedOptions,
  grouped: number | null,
  open: () => Promise<Parts>,
  known: (settings: Settings) => KnownDefaults,
): Promise<AnyResult> {
  const options: SignatureData = {
    ...checkApplyOptions(own),
    ...(link === undefined ? {} : { link: handlesOf(link, 'link').map((handle) => handle.canvas) }),
    ...(linkError === undefined ? {} : { linkError: handlesOf(linkError, 'linkError').map((handle) => handle.canvas) }),
  }
  checkScope(scope)
  const given = { args: checkArguments(args), kwargs: checkKwargs(kwargs) }
  const parts = await open()
  const { settings, publisher, now } = parts
  const at = now()
  const called = applyOptions(merge(canvas, given), scope === 'every' ? asInstant(options, at) : options, scope)
  const whole = freeze(withDefaults(called, known(settings), settings), () => newTaskId(at))
  const parent = runningTask.getStore()
  const launch = begin(whole, [], {
    rootId: parent?.rootId ?? null,
    parentId: parent?.id ?? null,
    deadline: workflowExpires === undefined ? null : instantOf('workflowExpires', workflowExpires, at),
    now: at,
    newId: () => newTaskId(at),
    defaultQueue: settings.defaultQueue,
    routes: settings.routes,
  })
  await publisher.publishCanvas(launch, trx ? { trx } : {})
  const result = resultOf(whole, open)
  return grouped === null ? result : asGroup(result, grouped, open)
}

/** For each step `expires` would count from its own sending. */
function asInstant({ expires, ...options }: SignatureData, now: number): SignatureData {
  return expires === undefined ? options : { ...options, expiresAt: now + Math.round(expires * 1000) }
}
