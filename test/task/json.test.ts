import assert from 'node:assert/strict'
import fc from 'fast-check'
import { encodeJson, isJsonObject, MAX_JSON_BYTES, NotJsonError } from '../../src/lib/task/json.js'

class Card {
  readonly number = '4111'
}

const circular: unknown[] = []
circular.push(circular)

/** Values that JSON drops, rounds or turns into something else, and what the error calls each. */
const FOREIGN: readonly (readonly [string, unknown])[] = [
  ['undefined', undefined],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
  ['a bigint', 1n],
  ['a symbol', Symbol('s')],
  ['a function', () => 1],
  ['a Date', new Date(0)],
  ['a Map', new Map()],
  ['a Set', new Set()],
  ['a RegExp', /x/],
  ['a Uint8Array', new Uint8Array(1)],
  ['a Error', new Error('e')],
  ['a Card', new Card()],
]

/** A step into a value: an index of an array or a key of an object. */
const steps = fc.array(fc.oneof(fc.nat({ max: 4 }), fc.string({ maxLength: 5 }), fc.constantFrom('__proto__', 'toJSON', '$a', 'a b')), {
  maxLength: 6,
})

const planted = (value: unknown, path: readonly (number | string)[]): unknown =>
  path.reduceRight<unknown>(
    (inner, step) => (typeof step === 'number' ? [...Array<null>(step).fill(null), inner] : { [step]: inner }),
    value,
  )

/** The path as JavaScript would spell it. */
const spelled = (path: readonly (number | string)[]): string =>
  path
    .map((step) =>
      typeof step === 'number' ? `[${step}]` : /^[A-Za-z_$][A-Za-z0-9_$]*$/.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`,
    )
    .join('')

/** JSON has one zero. */
const oneZero = (value: unknown): unknown => {
  if (Object.is(value, -0)) return 0
  if (Array.isArray(value)) return value.map(oneZero)
  return isJsonObject(value) ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, oneZero(inner)])) : value
}

describe('the JSON text of a value', () => {
  it('reads back equal', () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => assert.deepEqual(oneZero(JSON.parse(encodeJson(value, 'args'))), oneZero(value))))
  })

  it('reads back equal for any text: quotes, newlines, half of a surrogate pair', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => assert.equal(JSON.parse(encodeJson(text, 'args')), text)))
    assert.equal(JSON.parse(encodeJson('\ud800', 'args')), '\ud800')
  })

  it('has one zero', () => {
    assert.equal(encodeJson([Math.round(-0.4), { n: -0 }], 'result'), '[0,{"n":0}]')
  })

  it('may hold one object twice', () => {
    const card = { number: 1 }
    assert.equal(encodeJson([card, card], 'args'), '[{"number":1},{"number":1}]')
  })

  it('may hold an object without a prototype', () => {
    assert.equal(encodeJson(Object.assign(Object.create(null), { a: 1 }), 'args'), '{"a":1}')
  })
})

describe('a value that JSON cannot carry', () => {
  it('is refused with its path and its name, however deep it lies', () => {
    fc.assert(
      fc.property(fc.constantFrom(...FOREIGN), steps, ([name, value], path) => {
        assert.throws(
          () => encodeJson(planted(value, path), 'args'),
          (error: Error) => error instanceof NotJsonError && error.message === `args${spelled(path)} is ${name}, which JSON cannot carry`,
        )
      }),
    )
  })

  it('is found in a gap of an array', () => {
    const sparse: unknown[] = []
    sparse[1] = 1
    assert.throws(() => encodeJson(sparse, 'args'), /^NotJsonError: args\[0] is undefined/)
  })

  it('is refused when it is circular, without running out of stack', () => {
    assert.throws(() => encodeJson({ a: circular }, 'args'), /circular, or nested deeper than 500 levels/)
  })

  it('is one that is too large, and the error says by how much', () => {
    assert.equal(encodeJson('x'.repeat(MAX_JSON_BYTES - 2), 'args').length, MAX_JSON_BYTES)
    assert.throws(() => encodeJson('x'.repeat(MAX_JSON_BYTES - 1), 'args'), /args is 16777217 bytes of JSON; the limit is 16777216/)
    assert.throws(() => encodeJson('\u20ac'.repeat(MAX_JSON_BYTES / 3), 'args'), /the limit is 16777216/)
  })
})
