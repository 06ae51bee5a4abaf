import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, copyFile, mkdir, open, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import BetterSqlite from 'better-sqlite3'
import { UnavailableError } from '../../src/lib/task/errors.js'
import { type Folder, HAS_MODES, openFolder, STRANGER } from '../helpers/folder.js'
import { working } from '../helpers/working.js'
import { openWorld } from '../helpers/world.js'

/** What SQLite itself says of a database that nothing is wrong with. */
const SOUND = [{ integrity_check: 'ok' }]

/** The ledger of a folder, by the driver alone. */
function byHand<T>(file: string, use: (sqlite: BetterSqlite.Database) => T): T {
  const sqlite = new BetterSqlite(file)
  try {
    return use(sqlite)
  } finally {
    sqlite.close()
  }
}

const isSound = (file: string) => byHand(file, (sqlite) => assert.deepEqual(sqlite.pragma('integrity_check'), SOUND))

/** A folder with a ledger in which `count` tasks wait, and nobody has it open. */
async function openLedger(count: number): Promise<Folder & { readonly ledger: string }> {
  const folder = await openFolder()
  const ran = await folder.run(['migrate'])
  assert.equal(ran.code, 0, ran.stderr)
  for (let i = 0; i < count; i++) assert.equal((await folder.run(['call', 'note'])).code, 0)
  return { ...folder, ledger: folder.file('taskledger.db') }
}

const count = (file: string) => byHand(file, (sqlite) => (sqlite.prepare('SELECT count(*) AS n FROM task_result').get() as { n: number }).n)

describe('a database that may not grow', () => {
  it('refuses a publish and leaves nothing of it; what waits runs to its end once there is room', async () => {
    await using w = await openWorld({ now: Date.now })
    w.app.task('note', () => null)
    const accepted = await w.app.sendTask('note')
    const knex = await w.app.knex()
    const [{ page_count: pages }] = await knex.raw('PRAGMA page_count')
    await knex.raw(`PRAGMA max_page_count = ${pages}`)

    const text = 'x'.repeat(200_000)
    await assert.rejects(w.app.sendTask('note', [text]), (error: Error) => {
      assert.ok(error instanceof UnavailableError)
      assert.match(error.message, /^the database \S+ledger\.db failed.*: database or disk is full$/)
      return true
    })
    assert.deepEqual(
      (await w.app.tasks.list()).map(({ taskId }) => taskId),
      [accepted.id],
    )
    assert.deepEqual(await w.database.all('PRAGMA integrity_check', []), SOUND)

    await knex.raw('PRAGMA max_page_count = 1000000')
    const later = await w.app.sendTask('note', [text])
    await using _ = working(w.app)
    assert.deepEqual([await accepted.get({ timeout: 10 }), await later.get({ timeout: 10 })], [null, null])
  })

  it('lets a worker go on with what it has: a result that finds no room leaves its late-ack task to be run again', async () => {
    await using w = await openWorld({ now: Date.now, settings: { lease: 1 } })
    const knex = await w.app.knex()
    let runs = 0
    w.app.task({ name: 'large', acksLate: true }, async () => {
      runs += 1
      const [{ page_count: pages }] = await knex.raw('PRAGMA page_count')
      await knex.raw(`PRAGMA max_page_count = ${runs === 1 ? pages : 1_000_000}`)
      return 'x'.repeat(200_000)
    })
    const large = await w.app.sendTask('large')
    await using _ = working(w.app)
    assert.equal(String(await large.get({ timeout: 15 })).length, 200_000)
    assert.equal(runs, 2)
    assert.match(String(w.errors[0]), /UnavailableError: the database .* database or disk is full$/)
  })
})

describe('a full disk', () => {
  it('is said in one sentence with exit code 69, harms nothing, and is over when there is room', async function () {
    await using folder = await openFolder()
    const disk = folder.file('disk')
    await mkdir(disk)
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk])
    if (mounted.status !== 0) this.skip()
    try {
      const ledger = join(disk, 'ledger.db')
      const run = (...argv: string[]) => folder.run([...argv, '--database', `sqlite:${ledger}`])
      assert.equal((await run('migrate')).code, 0)
      assert.equal((await run('call', 'note')).code, 0)
      const filler = spawnSync('dd', ['if=/dev/zero', `of=${join(disk, 'filler')}`, 'bs=4096'])
      assert.notEqual(filler.status, 0)

      const refused = await run('call', 'note')
      assert.equal(refused.code, 69, refused.stderr)
      assert.equal(refused.stderr.trim().split('\n').length, 1, refused.stderr)
      assert.match(refused.stderr, /the database \S+ledger\.db (failed|cannot be opened).*(full|disk I\/O error)/)

      await rm(join(disk, 'filler'))
      assert.equal((await run('call', 'note')).code, 0)
      assert.equal(count(ledger), 2)
      isSound(ledger)
    } finally {
      spawnSync('umount', [disk])
    }
  })
})

describe('a ledger that may not be written', () => {
  it('is said in one sentence with exit code 78, and is read all the same', async function () {
    if (!HAS_MODES) this.skip()
    await using site = await openLedger(1)
    await chmod(site.ledger, 0o444)
    await chmod(site.path, 0o555)
    const before = await site.contents()

    const refused = await site.run(['call', 'note'], { user: STRANGER })
    assert.equal(refused.code, 78, refused.stderr)
    assert.match(refused.stderr, /the database \S+ cannot be written: the file or its folder is read-only/)
    const listed = await site.run(['list', '--json'], { user: STRANGER })
    assert.equal(listed.code, 0, listed.stderr)
    assert.deepEqual(await site.contents(), before)

    await chmod(site.path, 0o755)
    await chmod(site.ledger, 0o644)
    isSound(site.ledger)
  })
})

describe('a ledger whose write-ahead log is gone', () => {
  it('has lost what only the log held, and works on', async () => {
    await using w = await openWorld({ now: Date.now })
    await using folder = await openFolder()
    await w.app.sendTask('note')
    await w.database.all('PRAGMA wal_checkpoint(TRUNCATE)', [])
    await w.app.sendTask('note')
    const alone = folder.file('taskledger.db')
    await copyFile(join(w.folder, 'ledger.db'), alone) // the file as it is without its log

    assert.equal((await folder.run(['call', 'note'])).code, 0)
    assert.equal((await folder.run(['find-stale-tasks', '--check'])).code, 1)
    assert.equal(count(alone), 2)
    isSound(alone)
  })
})

describe('a ledger with a broken page', () => {
  it('is said in one sentence with exit code 69, and is left as it is', async () => {
    await using site = await openLedger(1)
    const [page, size] = byHand(site.ledger, (sqlite) => [
      (sqlite.prepare("SELECT rootpage FROM sqlite_master WHERE name = 'task_result'").get() as { rootpage: number }).rootpage,
      sqlite.pragma('page_size', { simple: true }) as number,
    ])
    const file = await open(site.ledger, 'r+')
    await file.write(Buffer.alloc(size, 0xff), 0, size, (page - 1) * size)
    await file.close()
    const before = await readFile(site.ledger)

    for (const argv of [['list'], ['find-stale-tasks'], ['call', 'note']]) {
      const refused = await site.run(argv)
      assert.equal(refused.code, 69, refused.stderr)
      const [said, hint, ...more] = refused.stderr.trim().split('\n')
      assert.match(said ?? '', /the database \S+taskledger\.db failed: database disk image is malformed/)
      assert.match(hint ?? '', /restore it from a backup/)
      assert.deepEqual(more, [])
    }
    assert.deepEqual(await readFile(site.ledger), before)
  })

  it('that is no database at all is said with exit code 78', async () => {
    await using folder = await openFolder()
    await writeFile(
      folder.file('taskledger.db'),
      'to buy: milk, bread, and enough other things that this is no header of SQLite at all'.repeat(20),
    )
    const refused = await folder.run(['list'])
    assert.equal(refused.code, 78, refused.stderr)
    assert.match(refused.stderr, /taskledger\.db is not a SQLite database/)
  })
})
