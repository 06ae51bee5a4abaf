import assert from 'node:assert/strict'
import { storedRow } from '../helpers/rows.js'
import { HOUR, openSite, type Site } from '../helpers/site.js'

/** Two results that are bare text among valid ones, and a row without any. */
async function putResults(site: Site): Promise<void> {
  const at = Date.now() - HOUR
  const results = { bare: 'it is "done"', object: '{"a":1}', number: '4', text: '"done"', cut: '{"a":' }
  for (const [id, result] of Object.entries(results)) await site.put(at, { task_id: id, status: 'SUCCESS', result })
  await site.put(at, { task_id: 'none' })
}

const everything = (site: Site) => site.database.all<{ task_id: string }>('SELECT * FROM task_result ORDER BY id', [])

describe('fix-json', () => {
  it('makes bare text a JSON string and touches nothing else, not even a time', async () => {
    await using site = await openSite()
    await putResults(site)
    const before = await everything(site)
    assert.deepEqual(await site.run(['fix-json']), { stdout: 'Fixed 2 results.\n', stderr: 'Inspecting 6 task results.\n', code: 0 })
    const fixed: Record<string, string> = { bare: '"it is \\"done\\""', cut: '"{\\"a\\":"' }
    assert.deepEqual(
      await everything(site),
      before.map((row) => ({ ...row, ...(fixed[row.task_id] && { result: fixed[row.task_id] }) })),
    )
  })

  it('has nothing to do a second time', async () => {
    await using site = await openSite()
    await putResults(site)
    assert.deepEqual(await site.json(['fix-json']), { version: 1, kind: 'fix-json', dryRun: false, inspected: 6, fixed: ['bare', 'cut'] })
    assert.deepEqual(await site.run(['fix-json', '-q']), { stdout: 'No result to fix.\n', stderr: '', code: 0 })
  })

  it('lists with --dry-run what it would fix, and changes nothing', async () => {
    await using site = await openSite()
    await putResults(site)
    const before = await everything(site)
    assert.deepEqual(await site.run(['fix-json', '--dry-run', '-q']), {
      stdout: '  bare\n  cut\nWould fix 2 results.\n',
      stderr: '',
      code: 0,
    })
    assert.deepEqual(await site.json(['fix-json', '--dry-run']), {
      version: 1,
      kind: 'fix-json',
      dryRun: true,
      inspected: 6,
      fixed: ['bare', 'cut'],
    })
    assert.deepEqual(await everything(site), before)
  })

  it('finds results beyond its first step', async () => {
    await using site = await openSite()
    await site.database.run(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
       INSERT INTO task_result (task_id, task, args, kwargs, status, result, queue, exchange, routing_key, priority, retries, root_id, options, submitted_at, published_at, updated_at, finished_at)
       SELECT 'n-' || i, 'mail.send', '[]', '{}', 'SUCCESS', CASE WHEN i % 1000 = 0 THEN 'bare' ELSE '1' END, 'default', '', 'default', 0, 0, 'n-' || i, '{}', 1, 1, 1, 1 FROM n`,
      [],
    )
    await site.put(Date.now(), { task_id: 'last', status: 'SUCCESS', result: 'bare' })
    const { inspected, fixed } = await site.json(['fix-json'])
    assert.deepEqual([inspected, fixed], [2501, ['n-1000', 'n-2000', 'last']])
    assert.equal((await storedRow(site.database, 'last')).result, '"bare"')
  })
})
