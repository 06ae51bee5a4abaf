import type { Canvas, SignatureOptions } from '../task/signature.js'
import { endsInGroup, normalise } from './compose.js'
import { mapParts } from './parts.js'
import { mergeOptions, withErrback, withLink, withOptions } from './signature.js'

/**
 * Which steps of a chain get the options of its call. `first` is Celery's. With `every`, those of {@link EVERY_STEP} reach each
 * step; `countdown` and `eta` delay the first alone.
 */
export type OptionScope = 'first' | 'every'

/** `expires` would be counted anew from each step's sending: a deadline of the whole is an `expiresAt`. */
const EVERY_STEP: ReadonlySet<string> = new Set([
  'queue',
  'exchange',
  'routingKey',
  'priority',
  'headers',
  'expires',
  'expiresAt',
  'softTimeLimit',
  'timeLimit',
  'acksLate',
  'resultExpires',
])

function picked(options: SignatureOptions, holds: (name: string) => boolean): SignatureOptions {
  return Object.fromEntries(Object.entries(options).filter(([name]) => holds(name)))
}

function toEveryStep(canvas: Canvas, options: SignatureOptions): Canvas {
  if (canvas.kind === 'task') return { ...canvas, options: mergeOptions(canvas.options, options) }
  return mapParts(canvas, (part) => toEveryStep(part, options))
}

/** @throws {TypeError} when the whole ends in a group: there is no one result to send on, and no one task to watch */
function refuseLinks(canvas: Canvas, { link = [], linkError = [] }: SignatureOptions): void {
  if (linkError.length > 0 && canvas.kind === 'group') throw new TypeError('Cannot add link to group: do that on individual tasks')
  if (link.length > 0 && endsInGroup(canvas)) throw new TypeError('Cannot add link to group: use a chord')
}

/**
 * The workflow a call with these options sends, in normal form. The call's options win over the signatures' own. Of a chain its
 * first step gets them (see {@link OptionScope}), of a group every member, of a chord its header and its body; `resultExpires`
 * reaches every step. `link` is added where the result is, `linkError` to every step and to the bodies of chords, and `taskId`
 * becomes the id of the result.
 *
 * @throws {TypeError} for `link` or `linkError` on a group
 */
export function applyOptions(canvas: Canvas, options: SignatureOptions, scope: OptionScope): Canvas {
  const normal = normalise(canvas)
  refuseLinks(normal, options)
  const { link = [], linkError = [], groupId: _group, groupIndex: _index, ...others } = options
  const reaches = (name: string): boolean => name === 'resultExpires' || (scope === 'every' && EVERY_STEP.has(name))
  const everywhere = toEveryStep(normal, picked(others, reaches))
  const set = withOptions(
    everywhere,
    picked(others, (name) => !reaches(name)),
  )
  return linkError.reduce(withErrback, link.reduce(withLink, set))
}
