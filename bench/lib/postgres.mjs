import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Database } from '../../dist/lib/database/database.js'
import { migrateTo } from '../../dist/lib/database/migrate.js'

/** The server, as its Debian package sets it up; both sides of every comparison commit with its defaults. */
const SERVER = process.env.BENCH_POSTGRES ?? 'postgres://postgres@127.0.0.1:5432'

/** Runs `use` with the URL of an empty database, which is gone afterwards. */
export async function withDatabase(use) {
  const name = `taskledger_bench_${process.pid}_${Date.now()}`
  const admin = new pg.Client(`${SERVER}/postgres`)
  await admin.connect()
  try {
    await admin.query(`CREATE DATABASE ${name}`)
    return await use(`${SERVER}/${name}`)
  } finally {
    await dropWhenLeft(admin, name)
    await admin.end()
  }
}

/** A pool that has been closed may take a moment to leave. */
async function dropWhenLeft(admin, name) {
  for (let tries = 100; ; tries--) {
    try {
      return await admin.query(`DROP DATABASE IF EXISTS ${name}`)
    } catch (error) {
      if (tries === 0 || error.code !== '55006') throw error // in use
      await sleep(50)
    }
  }
}

/** The same, with the product's tables. */
export const withLedger = (use) =>
  withDatabase(async (url) => {
    const database = await Database.open(url, 'create')
    await migrateTo(database)
    await database.close()
    return use(url)
  })
