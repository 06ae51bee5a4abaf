import assert from 'node:assert/strict'
import { type DatabaseUrl, type MysqlUrl, type PostgresUrl, parseDatabaseUrl, type SqliteUrl } from '../../src/lib/database/url.js'
import { ConfigurationError } from '../../src/lib/task/errors.js'

const read = <Url extends DatabaseUrl>(url: string) => parseDatabaseUrl(url, '/here') as Url

describe('a database URL', () => {
  it('names a file, relative to the working directory or absolute', () => {
    const filename = (url: string) => read<SqliteUrl>(url).filename
    assert.deepEqual(['sqlite:a.db', 'sqlite:./x/a.db', 'sqlite:/srv/a.db', 'sqlite:///srv/a.db', 'SQLite:a.db'].map(filename), [
      '/here/a.db',
      '/here/x/a.db',
      '/srv/a.db',
      '/srv/a.db',
      '/here/a.db',
    ])
  })

  it('may be of a database in memory', () => {
    assert.equal(read<SqliteUrl>('sqlite::memory:').filename, ':memory:')
  })

  it('says what was expected when it is something else', () => {
    for (const url of ['ledger.db', '', 'C:\\ledger.db', 'sqlite:']) {
      assert.throws(
        () => parseDatabaseUrl(url, '/here'),
        (error: Error) =>
          error instanceof ConfigurationError && error.message.includes('expected sqlite:FILE') && error.message.endsWith(`got: ${url}`),
      )
    }
  })

  it('is not shown when it may hold a password', () => {
    assert.throws(
      () => parseDatabaseUrl('oracle://me:secret@host/db', '/here'),
      (error: Error) => error.message.includes('begins with oracle:') && !error.message.includes('secret'),
    )
    for (const url of [
      'postgres://me:secret@host',
      'postgres://me:secret@host/',
      'postgres://me:se/cret@host/db',
      'postgres://me:secret@host/%',
      'mysql://me:secret@host',
      'mariadb://me:se/cret@host/db',
    ])
      assert.throws(
        () => parseDatabaseUrl(url, '/here'),
        (error: Error) =>
          error instanceof ConfigurationError &&
          /expected (postgres|mysql|mariadb):/.test(error.message) &&
          !/se.?cret/.test(error.message),
      )
  })

  it('of a MySQL or MariaDB database is shown without its password', () => {
    const shown = (url: string) => read<MysqlUrl>(url).shown
    assert.equal(shown('mysql://me:secret@host:3307/db'), 'mysql://me@host:3307/db')
    assert.equal(shown('mariadb://me:sec%40ret@host/db?ssl={}'), 'mariadb://me@host/db?ssl={}')
  })

  it('of a PostgreSQL database is shown without its password, wherever that stands', () => {
    const shown = (url: string) => read<PostgresUrl>(url).shown
    assert.equal(shown('postgres://me:secret@host:6543/db'), 'postgres://me@host:6543/db')
    assert.equal(shown('postgresql://me@host/db?password=secret&sslmode=require'), 'postgresql://me@host/db?sslmode=require')
    assert.equal(
      shown('postgres://me:secret@host/db?options=-c%20search_path%3Dtasks'),
      'postgres://me@host/db?options=-c%20search_path%3Dtasks',
    )
  })
})
