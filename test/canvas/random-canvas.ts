import fc from 'fast-check'
import { chain, chord, group } from '../../src/lib/canvas/compose.js'
import { withErrback, withLink } from '../../src/lib/canvas/signature.js'
import type { Canvas, TaskSignature } from '../../src/lib/task/signature.js'
import { isEmpty } from './evaluate.js'

const task = fc
  .record({
    task: fc.constantFrom('add', 'multiply', 'tsum', 'ident', 'swap'),
    args: fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 2 }),
    immutable: fc.constantFrom(false, false, false, true),
  })
  .map((call): TaskSignature => ({ kind: 'task', kwargs: {}, options: {}, ...call }))

const { callback } = fc.letrec<{ callback: Canvas }>((tie) => ({
  callback: fc.oneof(
    { maxDepth: 1 },
    task,
    fc.array(tie('callback'), { minLength: 1, maxLength: 2 }).map((steps): Canvas => ({ kind: 'chain', steps })),
    fc.array(tie('callback'), { maxLength: 2 }).map((members): Canvas => ({ kind: 'group', members })),
  ),
}))

/** Callbacks keep or lose their ids, errbacks are told apart by their name. */
const linked = fc
  .record({
    task,
    link: fc.option(fc.tuple(callback, fc.constantFrom({}, { taskId: 'callback' })), { freq: 8 }),
    errbacks: fc.subarray(['log', 'page'], { maxLength: 2 }),
  })
  .map(({ task: bare, link, errbacks }) => {
    const named = errbacks.reduce((one: Canvas, name) => withErrback(one, { ...ERRBACK, task: name }), bare)
    return link ? withLink(named, link[0].kind === 'task' ? { ...link[0], options: link[1] } : link[0]) : named
  })

const ERRBACK: TaskSignature = { kind: 'task', task: 'log', args: [], kwargs: {}, options: {}, immutable: false }

/** Any workflow, written out by hand or composed: chains in chains, groups of none and of one, headers without members. */
export const { canvas: anyCanvas } = fc.letrec<{ canvas: Canvas; parts: Canvas[] }>((tie) => ({
  canvas: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    linked,
    tie('parts').map((steps): Canvas => ({ kind: 'chain', steps })),
    tie('parts').map(chain),
    tie('parts').map(group),
    fc
      .tuple(
        tie('parts'),
        tie('canvas').filter((body) => !isEmpty(body)),
      )
      .map(([header, body]) => chord(header, body)),
    tie('parts').map((parts) => parts.reduce((whole, part) => withErrback(whole, { ...ERRBACK, task: part.kind }), chain(parts))),
  ),
  parts: fc.array(tie('canvas'), { maxLength: 3 }),
}))
