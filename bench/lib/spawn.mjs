import { spawnSync } from 'node:child_process'

/** Milliseconds from start to exit, with stdout thrown away; a program that fails is an error. */
export function timed(program, args, options = {}) {
  const from = performance.now()
  const { status, error, stderr } = spawnSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8', ...options })
  const ms = performance.now() - from
  if (error) throw error
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}: ${stderr}`)
  return ms
}
