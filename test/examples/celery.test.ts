import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { ROOT } from '../helpers/run.js'
import { needs } from '../helpers/services.js'

describe('the example with Celery', function () {
  this.timeout(120_000)

  before(function () {
    return needs(this, 'RabbitMQ', 'Redis', 'Celery', 'Django')
  })

  it('has a Django site and a Node service invoice three orders together', () => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [`${ROOT}examples/celery/run.mjs`], { encoding: 'utf8' })
    assert.equal(status, 0, stdout + stderr)
    for (const typed of ['python3 place_orders.py', 'taskledger list', 'taskledger retry', 'python3 show_orders.py']) {
      assert.ok(stdout.includes(`$ ${typed}`), typed)
    }
    for (const customer of ['Ada', 'Grace', 'Barbara']) assert.match(stdout, new RegExp(`of ${customer}: invoiced INV-`))
    assert.match(stdout, /billing\.remind SCHEDULED/)
    assert.match(stdout, /the customer of order 2 was reminded/)
    const ledger = /The ledger lies at (.+)/.exec(stdout)?.[1] ?? ''
    assert.ok(existsSync(ledger))
    rmSync(dirname(ledger), { recursive: true })
  })
})
