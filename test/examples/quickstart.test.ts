import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

describe('the quickstart', function () {
  this.timeout(120_000)

  it('loses tasks, finds them, and ends with every package audited exactly once', () => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [join(root, 'examples', 'quickstart', 'run.mjs')], { encoding: 'utf8' })
    assert.equal(status, 0, stdout + stderr)
    for (const typed of ['find-stale-tasks', 'taskledger retry', 'find-stale-scheduled', 'send-scheduled', 'taskledger export']) {
      assert.ok(stdout.includes(`$ ${typed}`), typed)
    }
    assert.match(stdout, /each audited exactly once successfully; [1-9]\d* tasks were lost on the way/)
    assert.match(stdout, /[1-9]\d* (small|medium|large)/)
    const ledger = /The ledger lies at (.+)/.exec(stdout)?.[1] ?? ''
    assert.ok(existsSync(ledger))
    assert.equal(readFileSync(ledger).subarray(0, 15).toString(), 'SQLite format 3')
    rmSync(dirname(ledger), { recursive: true })
  })
})
