import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { fromCelery, toCelery } from '../../src/lib/canvas/celery-form.js'
import { freeze } from '../../src/lib/canvas/freeze.js'
import { begin } from '../../src/lib/canvas/launch.js'
import { mapParts } from '../../src/lib/canvas/parts.js'
import { isJsonObject, type Json, type JsonObject } from '../../src/lib/task/json.js'
import type { Canvas } from '../../src/lib/task/signature.js'
import { essence } from '../helpers/celery-captures.js'
import { ROOT } from '../helpers/run.js'
import { counting } from './interpreter.js'
import { anyCanvas } from './random-canvas.js'
import { add, task } from './signatures.js'

const GOLDEN = join(ROOT, 'test/fixtures/golden')

/** Every signature in what a real Celery published, the outermost of each. */
function signaturesIn(json: Json): JsonObject[] {
  if (isJsonObject(json)) return 'subtask_type' in json ? [json] : Object.values(json).flatMap(signaturesIn)
  return Array.isArray(json) ? json.flatMap(signaturesIn) : []
}

describe('a signature that Celery published', () => {
  for (const file of readdirSync(GOLDEN)) {
    it(`is read and written again as it was: ${file}`, () => {
      const signatures = signaturesIn(JSON.parse(readFileSync(join(GOLDEN, file), 'utf8')))
      for (const one of signatures) assert.deepEqual(essence(toCelery(fromCelery(one))), essence(one))
      assert.ok(signatures.length > 0)
    })
  }
})

describe("Celery's form of a workflow", () => {
  it('has all its keys, options in snake case, and times with six digits after the second', () => {
    const one = task('mail', [1], { taskId: 'a', linkError: [task('log')], expiresAt: Date.UTC(2031, 0, 2, 3, 4, 5, 678), errback: true })
    assert.deepEqual(toCelery({ ...one, immutable: true }), {
      task: 'mail',
      args: [1],
      kwargs: {},
      options: {
        task_id: 'a',
        link_error: [{ task: 'log', args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false }],
        expires: '2031-01-02T03:04:05.678000+00:00',
        errback: true,
      },
      subtask_type: null,
      immutable: true,
    })
  })

  it('reads back as the workflow it was written from', () => {
    /** Celery's chord does not remember which errbacks of its body are those of the whole. */
    const remembered = (canvas: Canvas): Canvas =>
      canvas.kind === 'task' ? canvas : (({ linkError: _, ...whole }) => mapParts(whole, remembered))({ linkError: [], ...canvas })
    fc.assert(
      fc.property(anyCanvas.map(remembered), fc.boolean(), (canvas, frozen) => {
        const written = frozen ? freeze(canvas, counting()) : canvas
        assert.deepEqual(fromCelery(JSON.parse(JSON.stringify(toCelery(written)))), written)
      }),
    )
  })

  it('reads back with every option there is', () => {
    const options = {
      taskId: 'a',
      queue: 'q',
      priority: 3,
      headers: { tenant: 1 },
      expires: 1.5,
      countdown: 2,
      ignoreResult: true,
      resultExpires: null,
      softTimeLimit: 1,
      timeLimit: 2,
      acksLate: true,
      errback: true,
      link: [add(1)],
      linkError: [add(2)],
      groupId: 'g',
      groupIndex: 0,
    }
    assert.deepEqual(fromCelery(toCelery(task('t', [], options))), task('t', [], options))
    const instants = { expiresAt: 1_700_000_000_123, eta: 1_700_000_000_456 }
    assert.deepEqual(fromCelery(toCelery(task('t', [], instants))), task('t', [], instants))
  })
})

describe('a signature in JSON', () => {
  it('needs the name of a task and no more', () => {
    assert.deepEqual(fromCelery({ task: 'add' }), add())
    assert.deepEqual(fromCelery({ task: 'add', args: null, kwargs: null, options: null, subtask_type: null }), add())
  })

  it('keeps options that are not known, and loses those that say nothing', () => {
    const sent = { task: 'add', options: { reply_to: 'r', root_id: null, chord: { task: 'tsum' } } }
    assert.deepEqual(toCelery(fromCelery(sent))['options'], { reply_to: 'r', chord: { task: 'tsum' } })
  })

  it('says what a client waits for, and counts in a chord once the task has its place there', () => {
    const chord = { task: 'tsum' }
    const placed = fromCelery({ task: 'add', options: { reply_to: 'r', chord, group_id: 'g', group_index: 1, taskledger_id: 'a' } })
    assert.deepEqual(placed, task('add', [], { groupId: 'g', groupIndex: 1, celery: { reply_to: 'r', chord, id: 'a' } }))
    assert.deepEqual(toCelery(placed)['options'], { group_id: 'g', group_index: 1, reply_to: 'r', chord, taskledger_id: 'a' })
    const inHeader = {
      task: 'celery.chord',
      kwargs: { header: [{ task: 'add', options: { chord } }], body: chord },
      options: { task_id: 'h' },
    }
    const whole = freeze(fromCelery(inHeader), counting())
    assert.deepEqual(
      begin(whole, [], {
        rootId: null,
        parentId: null,
        deadline: null,
        now: 0,
        newId: counting(),
        defaultQueue: 'q',
        routes: {},
      }).messages.map(({ options, groupId }) => [options.celery, groupId]),
      [[undefined, 'h']],
    )
  })

  it('may give one callback without a list', () => {
    assert.deepEqual(fromCelery({ task: 'a', options: { link: { task: 'add' } } }), task('a', [], { link: [add()] }))
  })

  it('has its times in UTC where they name no zone, as Celery has', () => {
    const zone = process.env['TZ']
    process.env['TZ'] = 'Asia/Kolkata'
    try {
      for (const eta of ['2031-01-02T03:04:05', '2031-01-02T03:04:05.000000+00:00', '2031-01-02T05:04:05+02:00', '2031-01-02T03:04:05Z']) {
        assert.deepEqual(fromCelery({ task: 'a', options: { eta } }), task('a', [], { eta: Date.UTC(2031, 0, 2, 3, 4, 5) }))
      }
    } finally {
      if (zone === undefined) delete process.env['TZ']
      else process.env['TZ'] = zone
    }
  })

  it('gives the options and arguments of a chain, a group or a chord to the tasks they speak of', () => {
    const tasks = [{ task: 'a' }, { task: 'b' }]
    assert.deepEqual(fromCelery({ task: 'celery.chain', args: [1], kwargs: { tasks }, options: { queue: 'q', task_id: 'last' } }), {
      kind: 'chain',
      steps: [task('a', [1], { queue: 'q' }), task('b', [], { taskId: 'last' })],
    })
    assert.deepEqual(fromCelery({ task: 'celery.group', kwargs: { tasks }, options: { priority: 1 }, immutable: true }), {
      kind: 'group',
      members: ['a', 'b'].map((name) => ({ ...task(name, [], { priority: 1 }), immutable: true })),
    })
    assert.deepEqual(fromCelery({ task: 'celery.chord', kwargs: { header: tasks, body: { task: 'c' } }, options: { task_id: 'h' } }), {
      kind: 'chord',
      header: [task('a'), task('b')],
      body: task('c'),
      groupId: 'h',
    })
  })

  it('that is none is refused with its path', () => {
    const refused = (json: unknown, message: RegExp) => assert.throws(() => fromCelery(json), message)
    const inChain = (one: Json) => ({ task: 'celery.chain', kwargs: { tasks: [{ task: 'a' }, one] } })
    refused(5, /^UsageError: signature: expected a signature, .*, got: 5$/)
    refused(undefined, /signature: expected a signature, .*, got: nothing$/)
    refused({ task: '' }, /signature: expected a signature/)
    refused(inChain({ task: 7 }), /signature\.kwargs\.tasks\[1]: expected a signature, .*, got: {"task":7}/)
    refused({ task: 'celery.group', kwargs: {} }, /signature\.kwargs\.tasks: expected an array of signatures, got: nothing/)
    refused({ task: 'celery.chord', kwargs: { header: [] } }, /signature\.kwargs\.body: expected a signature/)
    refused({ task: 'a', args: {} }, /signature\.args: expected an array, got: {}/)
    refused({ task: 'a', kwargs: [] }, /signature\.kwargs: expected an object, got: \[]/)
    refused({ task: 'a', options: 1 }, /signature\.options: expected an object, got: 1/)
    refused({ task: 'a', options: { priority: 'high' } }, /signature\.options\.priority: expected a number, got: "high"/)
    refused({ task: 'a', options: { eta: 'soon' } }, /signature\.options\.eta: expected a time in ISO 8601, got: "soon"/)
    refused({ task: 'a', options: { link: [{ task: 'b' }, 1] } }, /signature\.options\.link\[1]: expected a signature/)
  })
})

describe('any workflow', () => {
  it('goes through JSON and comes back equal', () => {
    fc.assert(fc.property(anyCanvas, (canvas) => assert.deepEqual(JSON.parse(JSON.stringify(canvas)), canvas)))
  })
})
