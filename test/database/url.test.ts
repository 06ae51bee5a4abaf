import assert from 'node:assert/strict'
import { parseDatabaseUrl } from '../../src/lib/database/url.js'
import { ConfigurationError } from '../../src/lib/task/errors.js'

describe('a database URL', () => {
  it('names a file, relative to the working directory or absolute', () => {
    const filename = (url: string) => parseDatabaseUrl(url, '/work').filename
    assert.deepEqual(['sqlite:a.db', 'sqlite:./x/a.db', 'sqlite:/srv/a.db', 'sqlite:///srv/a.db', 'SQLite:a.db'].map(filename), [
      '/work/a.db',
      '/work/x/a.db',
      '/srv/a.db',
      '/srv/a.db',
      '/work/a.db',
    ])
  })

  it('may be of a database in memory', () => {
    assert.equal(parseDatabaseUrl('sqlite::memory:', '/work').filename, ':memory:')
  })

  it('says what was expected when it is something else', () => {
    for (const url of ['ledger.db', '', 'C:\\ledger.db', 'sqlite:']) {
      assert.throws(
        () => parseDatabaseUrl(url, '/work'),
        (error: Error) =>
          error instanceof ConfigurationError && error.message.includes('expected sqlite:FILE') && error.message.endsWith(`got: ${url}`),
      )
    }
  })

  it('is not shown when it may hold a password', () => {
    assert.throws(
      () => parseDatabaseUrl('postgres://me:secret@host/db', '/work'),
      (error: Error) => error.message.includes('begins with postgres:') && !error.message.includes('secret'),
    )
  })
})
