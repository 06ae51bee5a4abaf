import assert from 'node:assert/strict'
import SqliteDatabase from 'better-sqlite3'
import fc from 'fast-check'
import type { Databases } from '../helpers/databases.js'
import { openWorld } from '../helpers/world.js'

const patterns = fc.array(
  fc.constantFrom('a', 'b', 'c', 'A', '.', '*', '?', '[', ']', '^', '-', '\\', '$', '(', '{2}', '|', 'ž', '\u{1F600}', '[a-c]', '[^b]'),
  {
    maxLength: 6,
  },
)
const texts = fc.array(fc.constantFrom('a', 'b', 'c', 'A', '.', '*', '[', ']', '^', '-', '\\', '$', '\n', 'ž', '\u{1F600}'), {
  maxLength: 5,
})

/** How the dialect says a glob. */
export function globs(databases: Databases): void {
  const column = databases.name === 'MySQL' ? 'value COLLATE utf8mb4_bin' : 'value' // as the ledger's columns compare

  describe('a glob', () => {
    it('means what it means in SQLite', async () => {
      await using w = await openWorld({ databases })
      const sqlite = new SqliteDatabase(':memory:')
      const bySqlite = sqlite.prepare('SELECT ? GLOB ?').pluck()
      try {
        await fc.assert(
          fc.asyncProperty(patterns, fc.array(texts, { minLength: 20, maxLength: 40 }), async (pieces, all) => {
            const glob = pieces.join('')
            const { text, binding } = w.database.dialect.glob(column, glob)
            const strings = all.map((characters) => characters.join(''))
            const rows = await w.database.all<{ value: string; matches: number }>(
              `SELECT value, ${text} AS matches FROM ${w.database.dialect.elements('texts')}`,
              [binding, JSON.stringify(strings)],
            )
            assert.deepEqual(
              rows.map(({ value, matches }) => [value, matches]),
              strings.map((value) => [value, bySqlite.get(value, glob)]),
              `${glob} as ${binding}`,
            )
          }),
          { numRuns: 300 },
        )
      } finally {
        sqlite.close()
      }
    })
  })
}
