import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { ROOT } from '../helpers/run.js'

/** Has Node find no package of this name. */
const without = (name: string): string => {
  const hook = `export const resolve = (specifier, context, next) => {
    if (specifier === '${name}') throw Object.assign(new Error('not installed'), { code: 'ERR_MODULE_NOT_FOUND' })
    return next(specifier, context)
  }`
  return `import { register } from 'node:module'; register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hook)}`)})`
}

describe('results in Redis', () => {
  it('need a package, and without it the program says which before it does anything', () => {
    const program = `
      const { RedisStore } = await import('${ROOT}src/lib/celery/redis-store.ts')
      await RedisStore.open('redis://127.0.0.1:1/0', null).catch((error) => console.log(error.name, error.exitCode, error.message, error.hint))`
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [
        '--import',
        'tsx',
        '--import',
        `data:text/javascript,${encodeURIComponent(without('ioredis'))}`,
        '--input-type=module',
        '-e',
        program,
      ],
      { cwd: ROOT, encoding: 'utf8' },
    )
    assert.equal(
      stdout.trim(),
      'ConfigurationError 78 celeryResults: a redis: URL needs the package ioredis, which is not installed npm install ioredis',
      stderr,
    )
  })
})
