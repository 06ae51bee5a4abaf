import { signature } from '../../src/lib/canvas/signature.js'
import type { Json } from '../../src/lib/task/json.js'
import type { Canvas, SignatureOptions, TaskSignature } from '../../src/lib/task/signature.js'

export const task = (name: string, args: readonly Json[] = [], options: SignatureOptions = {}): TaskSignature =>
  signature(name, { args, options })

/** `add.s(…)` */
export const add = (...args: Json[]): TaskSignature => task('add', args)

/** `add.si(…)` */
export const addImmutable = (...args: Json[]): TaskSignature => signature('add', { args, immutable: true })

export const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => task(name)) as [TaskSignature, TaskSignature, TaskSignature, TaskSignature]

export const chained = (...steps: Canvas[]): Canvas & { kind: 'chain' } => ({ kind: 'chain', steps })

export const grouped = (...members: Canvas[]): Canvas & { kind: 'group' } => ({ kind: 'group', members })

export const chorded = (header: readonly Canvas[], body: Canvas): Canvas & { kind: 'chord' } => ({ kind: 'chord', header, body })
