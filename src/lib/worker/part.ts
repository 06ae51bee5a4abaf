import { replacement } from '../canvas/continuation.js'
import { freezeInto, tasksOf } from '../canvas/freeze.js'
import { Replace } from '../task/ending.js'
import { UsageError } from '../task/errors.js'
import { newTaskId } from '../task/id.js'
import { encodeJson } from '../task/json.js'
import type { TaskMessage } from '../task/message.js'
import type { Canvas, Composed } from '../task/signature.js'

/** The workflow that a body means by a signature, with the defaults of its tasks. */
export type CanvasOf = (signature: Composed) => Canvas

/** A running task as part of its workflow: what its body says there. Only data is collected; whoever ends the row sends it. */
export class Part {
  private readonly added: Canvas[] = []

  constructor(
    private readonly message: TaskMessage,
    private readonly canvasOf: CanvasOf,
  ) {}

  /** What the outcome of a task that ended well also tells: what it adds to its group. */
  get left(): { readonly added?: readonly Canvas[] } {
    return this.added.length > 0 ? { added: this.added } : {}
  }

  replace(signature: Composed): never {
    const whole = replacement(this.message, signature.canvas, newTaskId, (canvas) => this.read({ canvas }, 'replace'))
    throw new Replace(whole, heirOf(whole, this.message.options.chain ?? []))
  }

  add(signature: Composed): void {
    const { groupId, options } = this.message
    if (options.celery?.chord)
      throw new UsageError("addToChord: the chord of this task is counted by Celery's result backend, not by the ledger")
    if (groupId === null) throw new UsageError('addToChord: this task counts in no group')
    const canvas = this.read(signature, 'addToChord')
    freezeInto(canvas, { groupId, from: 0 }, newTaskId) // what cannot join the group is said here, not when the task has ended
    this.added.push(canvas)
  }

  private read(signature: Composed, where: string): Canvas {
    const canvas = this.canvasOf(signature)
    encodeJson(canvas, where)
    return canvas
  }
}

/** The last task of a replacement, before what followed the replaced one: it has the result that one would have had. */
function heirOf(whole: Canvas, rest: readonly Canvas[]): string {
  const idsOf = (canvas: Canvas) => tasksOf(canvas).map(({ options }) => options.taskId ?? '')
  const following = new Set(rest.flatMap(idsOf))
  return idsOf(whole).findLast((id) => !following.has(id)) ?? ''
}
