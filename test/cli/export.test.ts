import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { chmod, copyFile, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text as streamText } from 'node:stream/consumers'
import { itOnSqlite } from '../helpers/databases.js'
import { HAS_MODES, STRANGER } from '../helpers/folder.js'
import { ROOT, run, runUnread } from '../helpers/run.js'
import { ended, HOUR, openSite, type Site } from '../helpers/site.js'
import { until } from '../helpers/until.js'

const MANY = 60_000

async function putThree(site: Site): Promise<void> {
  const at = Date.UTC(2026, 10, 20, 12)
  await site.put(at, { task_id: 'a', status: 'SUCCESS', result: '{"n":1}' })
  await site.put(at + HOUR, { task_id: 'b', status: 'FAILURE', task: '=1+1', error_type: 'TypeError' })
  await site.put(at + 2 * HOUR, { task_id: 'c', queue: 'slow, "very"' })
}

/** Rows of some 300 bytes each, all finished. */
const putMany = (site: Site, rows: number) =>
  site.database.run(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
     INSERT INTO task_result (task_id, task, args, kwargs, status, result, queue, exchange, routing_key, priority, retries, root_id, options, submitted_at, published_at, updated_at, finished_at)
     SELECT 'many-' || i, 'mail.send', '[]', '{}', 'SUCCESS', ?, 'default', '', 'default', 0, 0, 'many-' || i, '{}', 1, 1, 1, 1 FROM n`,
    [rows, JSON.stringify('0'.repeat(200))],
  )

const text = (site: Site, name: string) => readFile(join(site.folder, name), 'utf8')

/** What is in the folder besides the ledger. */
const files = async (site: Site) => (await readdir(site.folder)).filter((name) => !name.startsWith('ledger.db'))

const FIELDS = ['--fields', 'taskId,status,result']

const AS = {
  json: '[\n{"taskId":"a","status":"SUCCESS","result":{"n":1}},\n{"taskId":"b","status":"FAILURE","result":null},\n{"taskId":"c","status":"PENDING","result":null}\n]\n',
  ndjson:
    '{"taskId":"a","status":"SUCCESS","result":{"n":1}}\n{"taskId":"b","status":"FAILURE","result":null}\n{"taskId":"c","status":"PENDING","result":null}\n',
  csv: 'taskId,status,result\na,SUCCESS,"{""n"":1}"\nb,FAILURE,\nc,PENDING,\n',
  tsv: 'taskId\tstatus\tresult\na\tSUCCESS\t"{""n"":1}"\nb\tFAILURE\t\nc\tPENDING\t\n',
}

describe('export to stdout', () => {
  it('writes every row whole, oldest first, a line each', async () => {
    await using site = await openSite()
    await putThree(site)
    const { stdout, stderr, code } = await site.run(['export'])
    const rows = await site.app.tasks.list()
    const lines = stdout.trimEnd().split('\n')
    assert.deepEqual(
      lines.map((line) => JSON.parse(line)),
      JSON.parse(JSON.stringify(rows.reverse())),
    )
    assert.deepEqual([stderr, code], ['', 0])
  })

  for (const [format, expected] of Object.entries(AS)) {
    it(`writes ${format} with --format ${format}`, async () => {
      await using site = await openSite()
      await putThree(site)
      assert.deepEqual(await site.run(['export', '--format', format, ...FIELDS]), { stdout: expected, stderr: '', code: 0 })
    })
  }

  it('of no row is an empty document of its format', async () => {
    await using site = await openSite()
    const empty = async (format: string) => (await site.run(['export', '--format', format, ...FIELDS])).stdout
    assert.deepEqual([await empty('json'), await empty('ndjson'), await empty('csv')], ['[\n]\n', '', 'taskId,status,result\n'])
  })

  it('writes the rows that its flags select, and the fields in their order', async () => {
    await using site = await openSite()
    await putThree(site)
    const ids = async (...flags: string[]) => (await site.run(['export', '--format', 'tsv', '--fields', 'task,taskId', ...flags])).stdout
    assert.equal(await ids('--status', 'FAILURE'), 'task\ttaskId\n=1+1\tb\n')
    assert.equal(await ids('--queue', 'slow, "very"'), 'task\ttaskId\nmail.send\tc\n')
    assert.equal(await ids('--since', '2026-11-20T13:00', '--until', '2026-11-20T14:00Z'), 'task\ttaskId\n=1+1\tb\n')
    assert.equal(await ids('--task', 'mail.*', '--status', 'SUCCESS'), 'task\ttaskId\nmail.send\ta\n')
  })

  it('keeps a spreadsheet from running a cell with --excel-safe', async () => {
    await using site = await openSite()
    await putThree(site)
    const cells = ['export', '--format', 'csv', '--fields', 'task', '--status', 'FAILURE']
    assert.equal((await site.run(cells)).stdout, 'task\n=1+1\n')
    assert.equal((await site.run([...cells, '--excel-safe'])).stdout, "task\n'=1+1\n")
  })

  it('ends quietly when nobody reads on', async () => {
    await using site = await openSite()
    await putMany(site, MANY)
    assert.deepEqual(await runUnread(`${ROOT}bin/run.js`, ['export', '--database', site.url]), { stderr: '', code: 0 })
  })

  it('may be cut by head', async function () {
    if (process.platform === 'win32') this.skip()
    await using site = await openSite()
    await putMany(site, MANY)
    const pipeline = `set -o pipefail; '${process.execPath}' '${ROOT}bin/run.js' export --database '${site.url}' --fields taskId | head -1`
    const { stdout, stderr, status } = spawnSync('bash', ['-c', pipeline], { encoding: 'utf8' })
    assert.deepEqual([stdout, stderr, status], ['{"taskId":"many-1"}\n', '', 0])
  })

  it('has no room for --json: exit 2', async () => {
    await using site = await openSite()
    const { stdout, code } = await site.run(['export', '--json'])
    const { message, hint } = JSON.parse(stdout).error
    assert.equal(message, '--json tells what was exported, and needs --output FILE for the data')
    assert.deepEqual([hint, code], ['for the data as JSON on stdout: --format json', 2])
  })
})

describe('export to a file', () => {
  for (const [name, format] of [
    ['rows.json', 'json'],
    ['rows.ndjson', 'ndjson'],
    ['rows.csv', 'csv'],
    ['rows.tsv', 'tsv'],
    ['rows.txt', 'ndjson'],
  ] as const) {
    it(`named ${name} is ${format}`, async () => {
      await using site = await openSite()
      await putThree(site)
      assert.deepEqual(await site.run(['export', '-o', name, ...FIELDS]), {
        stdout: `Exported 3 rows to ${name} (0.0 MB).\n`,
        stderr: '',
        code: 0,
      })
      assert.equal(await text(site, name), AS[format])
      assert.deepEqual(await files(site), [name])
    })
  }

  it('is what --format says, whatever its name', async () => {
    await using site = await openSite()
    await putThree(site)
    await site.run(['export', '-o', 'rows.json', '--format', 'csv', ...FIELDS])
    assert.equal(await text(site, 'rows.json'), AS.csv)
  })

  it('prints one whole document with --json', async () => {
    await using site = await openSite()
    await putThree(site)
    const document = await site.json(['export', '-o', 'rows.csv', ...FIELDS])
    assert.deepEqual(document, { version: 1, kind: 'export', format: 'csv', file: 'rows.csv', rows: 3, bytes: AS.csv.length })
  })

  it('takes the place of one that is there', async () => {
    await using site = await openSite()
    await putThree(site)
    await writeFile(join(site.folder, 'rows.csv'), 'of yesterday')
    await site.run(['export', '-o', 'rows.csv', ...FIELDS])
    assert.equal(await text(site, 'rows.csv'), AS.csv)
  })

  it('leaves the one that is there, and no part of a new one, when a field does not exist', async () => {
    await using site = await openSite()
    await writeFile(join(site.folder, 'rows.csv'), 'of yesterday')
    const { stdout, stderr, code } = await site.run(['export', '-o', 'rows.csv', '--fields', 'taskId,colour'])
    assert.match(stderr, /^taskledger: there is no field named colour; the fields are id, taskId, .*, resultExpiresAt\n$/)
    assert.deepEqual([stdout, code], ['', 2])
    assert.deepEqual([await files(site), await text(site, 'rows.csv')], [['rows.csv'], 'of yesterday'])
  })

  itOnSqlite('leaves the one that is there, and no part of a new one, when the database fails half-way', async () => {
    await using site = await openSite()
    await putMany(site, 5_000)
    await site.database.all('PRAGMA wal_checkpoint(TRUNCATE)', [])
    const half = join(site.folder, 'half.db')
    await copyFile(site.database.name, half)
    await truncate(half, Math.floor((await stat(half)).size / 2 / 4096) * 4096)
    await writeFile(join(site.folder, 'rows.csv'), 'of yesterday')
    const { stdout, stderr, code } = await site.run(['export', '--database', 'sqlite:half.db', '-o', 'rows.csv'])
    assert.match(stderr, /^taskledger: the database .*half\.db failed: database disk image is malformed\n/)
    assert.deepEqual([stdout, code], ['', 69])
    assert.equal(await text(site, 'rows.csv'), 'of yesterday')
    assert.ok(!(await files(site)).includes('rows.csv.part'))
  })

  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    it(`leaves the one that is there, and no part of a new one, on ${signal}: exit ${code}`, async () => {
      await using site = await openSite()
      await putMany(site, MANY)
      const file = join(site.folder, 'rows.csv')
      await writeFile(file, 'of yesterday')
      const exporting = site.start('export', '-o', file)
      await until(() => stat(`${file}.part`).catch(() => null), 'the part to be there')
      exporting.signal(signal)
      assert.deepEqual(await exporting.end(), ended(code))
      assert.deepEqual(exporting.stderr, [`taskledger: interrupted; ${file} is as it was`])
      assert.deepEqual([await files(site), await text(site, 'rows.csv')], [['rows.csv'], 'of yesterday'])
    })
  }

  it('in a folder that is not there, or may not be written to, or that is one itself, is told in a sentence', async function () {
    await using site = await openSite()
    const refused = async (...flags: string[]) => {
      const { stdout, stderr, code } = await site.run(['export', ...flags])
      assert.deepEqual([stdout, code], ['', 1])
      return stderr
    }
    assert.equal(
      await refused('-o', 'no/rows.csv'),
      'taskledger: no/rows.csv cannot be written: there is no folder no\n  make the folder first\n',
    )
    assert.equal(await refused('-o', site.folder), `taskledger: ${site.folder} cannot be written: it is a folder\n  name a file in it\n`)
    if (!HAS_MODES) this.skip()

    await chmod(site.folder, 0o555)
    const env = { TASKLEDGER_DATABASE: site.url }
    const stranger = await run('run', ['export', '-o', 'rows.csv'], { cwd: site.folder, env, user: STRANGER })
    await chmod(site.folder, 0o755)
    assert.deepEqual(stranger, {
      stdout: '',
      stderr: 'taskledger: rows.csv cannot be written: this user may not write to the folder .\n  name another file with --output\n',
      code: 1,
    })
  })

  it('that is a pipe writes into it, and leaves it one', async function () {
    if (process.platform === 'win32') this.skip()
    await using site = await openSite()
    await putThree(site)
    const pipe = join(site.folder, 'pipe')
    spawnSync('mkfifo', [pipe])
    const reader = spawn('cat', [pipe]) // not this process, which could never end while it waits for a writer
    try {
      const read = streamText(reader.stdout)
      assert.equal((await site.run(['export', '-o', 'pipe', '--format', 'csv', ...FIELDS])).code, 0)
      assert.ok((await stat(pipe)).isFIFO())
      assert.equal(await read, AS.csv)
    } finally {
      reader.kill('SIGKILL')
    }
  })

  it('on a full disk is told in a sentence', async function () {
    if (process.platform !== 'linux') this.skip()
    await using site = await openSite()
    await putThree(site)
    const { stdout, stderr, code } = await site.run(['export', '-o', '/dev/full'])
    assert.match(
      stderr,
      /^taskledger: \/dev\/full cannot be written: ENOSPC: no space left on device.*\n {2}name another file with --output\n$/,
    )
    assert.deepEqual([stdout, code], ['', 1])
  })
})
