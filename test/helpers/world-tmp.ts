import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { App } from '../../src/lib/app/app.js'
import type { Settings } from '../../src/lib/app/settings.js'
import type { Database } from '../../src/lib/database/database.js'

export interface World extends AsyncDisposable {
  readonly folder: string
  readonly url: string
  readonly app: App
  readonly database: Database
  readonly clock: { now(): number; advance(ms: number): number }
}

export async function openWorld(settings: Partial<Settings> = {}, time: 'real' | 'by hand' = 'by hand'): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'taskledger-test-'))
  const url = `sqlite:${join(folder, 'ledger.db')}`
  let ms = Date.UTC(2026, 10, 20, 12)
  const clock = time === 'real' ? { now: () => Date.now(), advance: () => Date.now() } : { now: () => ms, advance: (by: number) => (ms += by) }
  const app = new App({ code: { database: url, ...settings }, env: {}, cwd: folder }, 'write', () => clock.now())
  await app.migrate()
  return {
    folder,
    url,
    app,
    database: await app.database(),
    clock,
    async [Symbol.asyncDispose]() {
      await app.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
