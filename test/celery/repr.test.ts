import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { readRepr } from '../../src/lib/celery/repr.js'
import type { Json } from '../../src/lib/task/json.js'
import { needs, PYTHON } from '../helpers/services.js'

const READ: Readonly<Record<string, Json>> = {
  None: null,
  True: true,
  False: false,
  '0': 0,
  '-12': -12,
  '9007199254740991': Number.MAX_SAFE_INTEGER,
  '4.0': 4,
  '1.5': 1.5,
  '1e-07': 1e-7,
  '1.5e+300': 1.5e300,
  "''": '',
  "'abc'": 'abc',
  "'it\\'s'": "it's",
  "'the dogs\\' bones'": "the dogs' bones",
  '\'two\nlines, "quoted" – ünï\'': 'two\nlines, "quoted" – ünï',
  '"it\'s"': "it's",
  '()': [],
  '(1,)': [1],
  "(2, 'x')": [2, 'x'],
  '[]': [],
  '[1, [2, (3,)]]': [1, [2, [3]]],
  '{}': {},
  "{'a': 1, 'b': {'c': None}}": { a: 1, b: { c: null } },
}

/** Each might be of another value than it seems, or is of one that JSON does not have. */
const UNREADABLE = [
  '',
  '9007199254740992',
  '-9007199254740993',
  'inf',
  'nan',
  '(1+2j)',
  '0123',
  '1_000',
  "b'abc'",
  "'abc...'",
  '"it\'s..."',
  "'C:\\new'",
  "'\\\\'",
  "'ends in a backslash\\'",
  "('a\\', 'b')",
  "'a\\', b'",
  "'abc",
  '...',
  '[1, ...]',
  '[...]',
  "{'a': {...}}",
  '(1)',
  '(1,2)',
  '[1 , 2]',
  '[1, 2',
  '[1, 2]]',
  '1 2',
  '{1: 2}',
  '{1, 2}',
  'set()',
  'frozenset({1})',
  "Decimal('1.5')",
  'datetime.datetime(2026, 1, 1, 0, 0)',
  "UUID('0197b2c1-6b0e-7000-8d2c-6f3a1b2c4d5e')",
  '<User: Ada>',
  '<Recursion on list with id=1>',
  '['.repeat(100_000),
]

const values = fc.jsonValue({ maxDepth: 4 })

/** What Celery's own function writes of each of these values, as it does of arguments and results. */
function saferepr(given: readonly unknown[]): string[] {
  const program =
    'import json, sys\nfrom celery.utils.saferepr import saferepr\njson.dump([saferepr(v, 1024) for v in json.load(sys.stdin)], sys.stdout)'
  const { stdout, stderr } = spawnSync(PYTHON, ['-c', program], { input: JSON.stringify(given), encoding: 'utf8' })
  assert.equal(stderr, '')
  return JSON.parse(stdout) as string[]
}

describe('a repr of Celery’s', () => {
  for (const [text, value] of Object.entries(READ)) {
    it(`is read: ${JSON.stringify(text)}`, () => assert.deepEqual(readRepr(text), { value }))
  }

  it('is not read where it does not tell the value exactly', () => {
    for (const text of UNREADABLE) assert.equal(readRepr(text), null, text.slice(0, 80))
  })

  it('never makes the reader fail, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'()[]{}\'"\\,:. 1eN…') }), (text) => void readRepr(text)),
      { numRuns: 2000 },
    )
  })

  it('keeps a key that means something to JavaScript', () => {
    assert.equal(JSON.stringify(readRepr("{'__proto__': 1}")?.value), '{"__proto__":1}')
  })

  it('as Celery itself writes it, reads back as the value or not at all', async function () {
    await needs(this, 'Celery')
    const texts = fc.string({ unit: fc.constantFrom(...'ab \'"\\,.:)]}\n', '…') })
    const long = fc.string({ minLength: 900, maxLength: 1100 }).map((text) => `word ${text}`)
    const given = fc.sample(fc.oneof(values, fc.array(texts), fc.dictionary(texts, texts), fc.array(long)), 3000)
    let read = 0
    for (const [i, text] of saferepr(given).entries()) {
      const found = readRepr(text)
      if (found === null) continue
      read += 1
      assert.deepEqual(JSON.stringify(found.value), JSON.stringify(given[i]), text)
    }
    assert.ok(read > 500, `${read} of ${given.length} could be read`)
  })
})
