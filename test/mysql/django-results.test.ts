import assert from 'node:assert/strict'
import { DjangoStore } from '../../src/lib/celery/django-store.js'
import type { CeleryEnd } from '../../src/lib/celery/result-form.js'
import { MYSQL } from '../helpers/databases.js'
import { mysqlSuite } from '../helpers/mysql.js'
import { si } from '../helpers/workflows.js'
import { DAWN, openWorld } from '../helpers/world.js'

const RESULTS = 'django_celery_results_taskresult'
const CHORDS = 'django_celery_results_chordcounter'

/** What of Django's tables is written. */
const TABLES = [
  `CREATE TABLE ${RESULTS} (id int AUTO_INCREMENT PRIMARY KEY, task_id varchar(255) NOT NULL UNIQUE, task_name varchar(255), status varchar(50) NOT NULL,
     content_type varchar(128) NOT NULL, content_encoding varchar(64) NOT NULL, result longtext, traceback longtext, meta longtext,
     date_created datetime(6) NOT NULL, date_done datetime(6) NOT NULL)`,
  `CREATE TABLE ${CHORDS} (id int AUTO_INCREMENT PRIMARY KEY, group_id varchar(255) NOT NULL UNIQUE, sub_tasks longtext NOT NULL, count int unsigned NOT NULL)`,
]

const endOf = (taskId: string, given: Partial<CeleryEnd>): CeleryEnd => ({
  taskId,
  task: 'add',
  status: 'SUCCESS',
  result: 4,
  traceback: null,
  children: [],
  at: DAWN,
  rootId: taskId,
  parentId: null,
  groupId: null,
  groupIndex: null,
  kept: true,
  replyTo: null,
  chord: null,
  deadline: null,
  ...given,
})

mysqlSuite(() => {
  describe('the tables of django-celery-results', () => {
    it('hold the result with the instant it was stored at in UTC, a success for good, and count the members of a chord', async () => {
      await using w = await openWorld({ databases: MYSQL })
      for (const table of TABLES) await w.database.run(table, [])
      const store = await DjangoStore.open(w.database)
      const tell = (end: CeleryEnd) => w.database.write((sql) => store.store(sql, end))
      for (const status of ['RETRY', 'FAILURE', 'SUCCESS', 'FAILURE'] as const) await tell(endOf('a', { status }))
      const date = new Date(DAWN).toISOString().replace('T', ' ').slice(0, -1)
      assert.deepEqual(await w.database.all(`SELECT status, result, CAST(date_done AS char) AS at FROM ${RESULTS}`, []), [
        { status: 'SUCCESS', result: '4', at: `${date}000` },
      ])

      const members = JSON.stringify(['m1', 'm2'].map((id) => [[id, null], null]))
      await w.database.run(`INSERT INTO ${CHORDS} (group_id, sub_tasks, count) VALUES ('g', ?, 2)`, [members])
      const member = (id: string, result: number) => tell(endOf(id, { result, groupId: 'g', chord: si('tsum') }))
      assert.equal(await member('m1', 1), null)
      assert.equal(await member('m1', 1), null)
      assert.deepEqual(await member('m2', 2), { kind: 'complete', results: [1, 2] })
    })
  })
})
