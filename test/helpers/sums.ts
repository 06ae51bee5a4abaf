import type { App } from '../../src/lib/app/app.js'

/** The tasks of Celery's own examples, and some that end badly. */
export function declareSums(app: App) {
  return {
    add: app.task('add', (x: number, y: number) => x + y),
    multiply: app.task('multiply', (x: number, y: number) => x * y),
    tsum: app.task('tsum', (numbers: number[]) => numbers.reduce((sum, n) => sum + n, 0)),
    ident: app.task('ident', (value: unknown) => value),
    fail: app.task('fail', (_given: unknown = null): number => {
      throw new Error('boom')
    }),
  }
}

export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

/** Waits long enough for anything but a test that has failed. */
export const SOON = { timeout: 15 }
