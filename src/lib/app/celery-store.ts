import { DjangoStore } from '../celery/django-store.js'
import { RedisStore } from '../celery/redis-store.js'
import { type Reply, ReplyStore } from '../celery/reply.js'
import type { ResultStore } from '../celery/store.js'
import type { Sql } from '../database/sql.js'
import type { Settings } from './settings.js'

/**
 * Where Celery's clients look for results. Null: nowhere.
 *
 * @param reply publishes a result to a client that waits on a queue of the broker; null: it is no broker of Celery's
 * @throws {ConfigurationError} when what the setting names is not there
 */
export async function openCeleryStore(
  { celeryResults, resultExpires }: Pick<Settings, 'celeryResults' | 'resultExpires'>,
  sql: Sql,
  reply: ((reply: Reply) => Promise<void>) | null,
): Promise<ResultStore | null> {
  if (celeryResults === 'django') return DjangoStore.open(sql)
  if (celeryResults !== null) return RedisStore.open(celeryResults, resultExpires)
  return reply && new ReplyStore(reply)
}
