import type { Canvas } from '../task/signature.js'

/** What a workflow is made of, in order; a chord's header before its body. A task has no parts. */
export function partsOf(canvas: Canvas): readonly Canvas[] {
  switch (canvas.kind) {
    case 'task':
      return []
    case 'chain':
      return canvas.steps
    case 'group':
      return canvas.members
    case 'chord':
      return [...canvas.header, canvas.body]
  }
}

export function mapParts(canvas: Canvas, change: (part: Canvas) => Canvas): Canvas {
  switch (canvas.kind) {
    case 'task':
      return canvas
    case 'chain':
      return { ...canvas, steps: canvas.steps.map(change) }
    case 'group':
      return { ...canvas, members: canvas.members.map(change) }
    case 'chord':
      return { ...canvas, header: canvas.header.map(change), body: change(canvas.body) }
  }
}
