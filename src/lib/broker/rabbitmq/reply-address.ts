import { mapParts } from '../../canvas/parts.js'
import type { Canvas, TaskSignature } from '../../task/signature.js'

/** A later step as Celery writes it: each task that has its id already says where Celery's `rpc://` backend is to answer to. */
export const answeringTo = (replyTo: string, canvas: Canvas): Canvas =>
  mapTasks(canvas, (task) => {
    const { taskId, celery } = task.options
    if (taskId === undefined || celery?.reply_to !== undefined) return task
    return { ...task, options: { ...task.options, celery: { ...celery, reply_to: replyTo } } }
  })

/** The step as it was before. */
export const answeringNobody = (replyTo: string, canvas: Canvas): Canvas =>
  mapTasks(canvas, (task) => {
    const { celery, ...options } = task.options
    if (celery?.reply_to !== replyTo) return task
    const { reply_to: _, ...others } = celery
    return { ...task, options: Object.keys(others).length > 0 ? { ...options, celery: others } : options }
  })

const mapTasks = (canvas: Canvas, change: (task: TaskSignature) => Canvas): Canvas =>
  canvas.kind === 'task' ? change(canvas) : mapParts(canvas, (part) => mapTasks(part, change))
