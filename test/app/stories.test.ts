import assert from 'node:assert/strict'
import type { App } from '../../src/lib/app/app.js'
import { chain, chord, group } from '../../src/lib/app/canvas.js'
import type { ErrbackError, ErrbackRequest } from '../../src/lib/app/signature.js'
import { declareSums, range, SOON } from '../helpers/sums.js'
import { until } from '../helpers/until.js'
import { working } from '../helpers/working.js'
import { openWorld } from '../helpers/world.js'

const open = () => openWorld({ now: Date.now })

interface Article {
  readonly article_id: number
  readonly status?: string
  readonly has_image?: boolean
}

/** The publishing of articles; an article whose number is not known is looked for again, twice. */
function declareArticles(app: App, known: ReadonlySet<number>) {
  const log: unknown[] = []
  const processArticle = app.task(
    { name: 'process_article', bind: true, maxRetries: 2, defaultRetryDelay: 60 },
    (task, articleId: number): Article => {
      log.push(['looked for', articleId])
      if (!known.has(articleId)) throw task.retry({ error: new Error(`Article ${articleId} not found`), countdown: 120 })
      return { article_id: articleId, status: 'processed' }
    },
  )
  const generateThumbnail = app.task({ name: 'generate_thumbnail', bind: true, maxRetries: 5 }, (_task, article: Article) =>
    article.has_image ? { ...article, thumbnail: 'generated' } : { skipped: true, reason: 'no_image' },
  )
  const notifySubscribers = app.task('notify_subscribers', (article: object) => ({ notified: true, article }))
  const notifyFailure = app.task({ name: 'notify_failure', errback: true }, (request: ErrbackRequest, error: ErrbackError) => {
    log.push(['failed', request.task, request.retries, error.message])
    return { task_id: request.id, error: error.message }
  })
  const articleWorkflow = (id: number) =>
    chain(processArticle.s(id), generateThumbnail.s(), notifySubscribers.s()).set({ expires: 7200 }).onError(notifyFailure.s())
  return { log, processArticle, generateThumbnail, notifySubscribers, notifyFailure, articleWorkflow }
}

describe('the article workflow', () => {
  it('runs step by step, each with the result of the one before', async () => {
    await using w = await open()
    const { processArticle, generateThumbnail, notifySubscribers, notifyFailure } = declareArticles(w.app, new Set([7]))
    await using _ = working(w.app)
    const workflow = chain(processArticle.s(7), generateThumbnail.s(), notifySubscribers.s())
    const result = await workflow.applyAsync({ expires: 7200, resultExpires: 7200, linkError: notifyFailure.s() })
    assert.deepEqual(await result.get(SOON), { notified: true, article: { skipped: true, reason: 'no_image' } })
    for (const row of await w.app.tasks.list()) {
      assert.equal(row.resultExpiresAt?.getTime(), (row.finishedAt?.getTime() ?? 0) + 7_200_000)
      assert.equal(row.expires !== null, row.task === 'process_article')
    }
  })

  it('retries a step under its own id, and tells of it once when it fails for good', async () => {
    await using w = await open()
    const { log, articleWorkflow } = declareArticles(w.app, new Set())
    await using _ = working(w.app)
    const result = await articleWorkflow(8).applyAsync()
    const first = result.lineage()[0]?.id ?? ''
    for (const retries of [1, 2]) {
      await until(
        async () => (await w.app.tasks.get(first))?.status === 'RETRY' && (await w.app.tasks.get(first))?.retries === retries,
        'a retry',
      )
      w.clock.advance(121_000)
    }
    await assert.rejects(result.get(SOON), { message: 'Article 8 not found' })
    await until(() => log.length === 4, 'the errback')
    const looked = ['looked for', 8]
    assert.deepEqual(log, [looked, looked, looked, ['failed', 'process_article', 2, 'Article 8 not found']])
    const states = await Promise.all(result.lineage().map(({ id }) => w.app.result(id).state()))
    assert.deepEqual(states, ['FAILURE', 'FAILURE', 'FAILURE'])
  })

  it('is sent in bulk, and one that fails does not stop the others', async () => {
    await using w = await open()
    const { articleWorkflow } = declareArticles(w.app, new Set(range(20)))
    await using _ = working(w.app)
    const result = await group(range(20).map((id) => articleWorkflow(id))).applyAsync()
    assert.equal((await result.get(SOON)).length, 20)
    assert.equal(await result.completedCount(), 20)
  })
})

describe('the workflows of the introduction to Celery', () => {
  it('give what it says they give', async () => {
    await using w = await open()
    const { add, multiply, tsum } = declareSums(w.app)
    await using _ = working(w.app)
    const pairs = (n: number) => range(n).map((i): [number, number] => [i, i])
    const doubles = range(10).map((i) => 2 * i)
    assert.deepEqual(await (await group(range(10).map((i) => add.s(i, i))).applyAsync()).get(SOON), doubles)
    assert.equal(await (await multiply.s(5, 5).pipe(add.s(4)).pipe(multiply.s(8)).applyAsync()).get(SOON), 232)
    const body = tsum.s()
    const header = range(10).map((i) => add.s(i, i))
    assert.equal(await (await chord(header, body).applyAsync()).get(SOON), 90)
    assert.deepEqual(await (await tsum.map([range(10), range(100)]).applyAsync()).get(SOON), [45, 4950])
    assert.deepEqual(await (await add.starmap(pairs(10)).applyAsync()).get(SOON), doubles)
    const chunks = await (await add.chunks(pairs(1000), 10).applyAsync()).get(SOON)
    assert.deepEqual([chunks.length, chunks[99]], [100, range(10).map((i) => 2 * (990 + i))])
  })
})

describe('the reliability of a task', () => {
  it('is that of a step: it is retried for its errors by itself, and acked late, and the chain goes on', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    let runs = 0
    const flaky = w.app.task({ name: 'flaky', autoretryFor: [RangeError], defaultRetryDelay: 0, acksLate: true }, (n: number) => {
      if (++runs < 3) throw new RangeError('not yet')
      return n
    })
    await using _ = working(w.app)
    const result = await chain(add.s(1, 1), flaky.s(), add.s(1)).applyAsync()
    assert.equal(await result.get(SOON), 3)
    const row = await w.app.tasks.get(result.parent?.id ?? '')
    assert.deepEqual([row?.retries, row?.options.acksLate], [2, true])
  })
})

describe('the record of a workflow', () => {
  it('shows what nobody took, and sends a step that failed again with all that followed it', async () => {
    await using w = await open()
    const { add, multiply } = declareSums(w.app)
    let broken = true
    const mend = w.app.task('mend', (n: number) => {
      if (broken) throw new Error('broken')
      return n
    })
    const result = await chain(add.s(1, 1), mend.s(), multiply.s(10)).applyAsync()
    const [stale] = await w.app.tasks.findStale()
    assert.deepEqual([stale?.taskId, stale?.reason], [result.lineage()[0]?.id, 'unclaimed'])
    await using _ = working(w.app)
    await assert.rejects(result.get(SOON), /broken/)
    broken = false
    const [resent] = await w.app.tasks.retry({ tasks: ['mend'] })
    await until(() => w.app.result(resent?.newTaskId ?? '').ready(), 'the copy')
    const [last] = await until(async () => {
      const found = await w.app.result(resent?.newTaskId ?? '').children()
      return found.length === 1 && found
    }, 'the step after it')
    assert.equal(await last?.get(SOON), 20)
  })

  it('of a step with an eta is SCHEDULED, and the chain goes on once it was sent', async () => {
    await using w = await open()
    const { add } = declareSums(w.app)
    await using _ = working(w.app)
    const result = await chain(add.s(1, 1), add.s(1).set({ countdown: 60 }), add.s(1)).applyAsync()
    const second = result.parent?.id ?? ''
    await until(async () => (await w.app.result(second).state()) === 'SCHEDULED', 'the second step')
    w.clock.advance(61_000)
    assert.equal(await result.get(SOON), 4)
    assert.equal(await result.parent?.get(SOON), 3)
  })
})
