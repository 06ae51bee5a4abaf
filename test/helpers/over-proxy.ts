import { Database } from '../../src/lib/database/database.js'
import { openProxy, type Passage } from './passage.js'
import type { World } from './world.js'

/** A way to the test server, and the same ledger as the world's over it. */
export async function overProxy(w: World): Promise<{ readonly proxy: Passage; readonly database: Database } & AsyncDisposable> {
  const url = new URL(w.url)
  const proxy = await openProxy(url.hostname, Number(url.port || (url.protocol === 'mysql:' ? 3306 : 5432)))
  url.port = String(proxy.port)
  url.hostname = '127.0.0.1'
  const database = await Database.open(url.href, 'write')
  return {
    proxy,
    database,
    async [Symbol.asyncDispose]() {
      await database.close()
      await proxy[Symbol.asyncDispose]()
    },
  }
}
