import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { wantsColour } from '../../src/lib/cli/colour.js'
import { confirm } from '../../src/lib/cli/confirm.js'
import { printable, printableLines } from '../../src/lib/cli/printable.js'
import { formatTable } from '../../src/lib/cli/table.js'
import { classicInstant, formatAge, parseInstant } from '../../src/lib/cli/time.js'

const ESCAPE = '\u001b'

describe('text from the database', () => {
  it('shows its control characters instead of sending them to the terminal', () => {
    assert.equal(printable(`a${ESCAPE}[31mb\r\nc\td\u0007\u009b\u202e`), 'a\\u001b[31mb\\r\\nc\\td\\u0007\\u009b\\u202e')
    assert.equal(printable('Zoë 日本 🙂'), 'Zoë 日本 🙂')
  })

  it('keeps its lines where it has several', () => {
    assert.equal(printableLines(`Error: no\r\n    at ${ESCAPE}x`), 'Error: no\n    at \\u001bx')
  })

  it('never holds a character that a terminal obeys', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => !/\p{Cc}/u.test(printable(text))))
  })
})

describe('colour', () => {
  const terminal = { isTTY: true }
  const pipe = {}

  it('is for terminals', () => {
    assert.equal(wantsColour(terminal, {}, false), true)
    assert.equal(wantsColour(pipe, {}, false), false)
  })

  it('obeys the first of --no-color, FORCE_COLOR, NO_COLOR, CLICOLOR_FORCE and TERM=dumb', () => {
    assert.equal(wantsColour(terminal, { FORCE_COLOR: '1' }, true), false)
    assert.equal(wantsColour(pipe, { FORCE_COLOR: '1', NO_COLOR: '1' }, false), true)
    assert.equal(wantsColour(terminal, { FORCE_COLOR: '0' }, false), false)
    assert.equal(wantsColour(pipe, { NO_COLOR: '1', CLICOLOR_FORCE: '1' }, false), false)
    assert.equal(wantsColour(pipe, { CLICOLOR_FORCE: '1', TERM: 'dumb' }, false), true)
    assert.equal(wantsColour(terminal, { TERM: 'dumb' }, false), false)
    assert.equal(wantsColour(terminal, { NO_COLOR: '' }, false), true)
  })
})

describe('a table', () => {
  const rows = [
    { task: 'mail.send_a_rather_long_letter', tries: 3 },
    { task: `${ESCAPE}[2J`, tries: 12 },
  ]
  const columns = [
    { heading: 'Task', value: (row: (typeof rows)[number]) => row.task, shrinks: true },
    { heading: 'Tries', value: (row: (typeof rows)[number]) => String(row.tries), align: 'right' as const },
  ]

  it('aligns its columns, without lines, colours or blanks at the end', async () => {
    assert.equal(
      await formatTable(columns, rows, 80),
      ['Task                            Tries', 'mail.send_a_rather_long_letter      3', '\\u001b[2J                          12'].join(
        '\n',
      ),
    )
  })

  it('shortens a shrinking column to fit the screen', async () => {
    assert.equal(await formatTable(columns, rows.slice(0, 1), 20), ['Task           Tries', 'mail.send_a_…      3'].join('\n'))
  })

  it('keeps the columns that do not shrink on a screen that is too narrow', async () => {
    assert.match(await formatTable(columns, rows, 5), /Tries\n.*12$/s)
  })

  it('colours what it has already measured', async () => {
    const [first] = columns
    const painted = await formatTable([{ ...first!, paint: (text) => `${ESCAPE}[36m${text}${ESCAPE}[39m` }], rows.slice(0, 1), 80)
    assert.equal(painted, `Task\n${ESCAPE}[36mmail.send_a_rather_long_letter${ESCAPE}[39m`)
  })
})

describe('an instant', () => {
  const at = new Date('2026-11-20T14:17:37.096Z')

  it('has the classic form, which can be read back', () => {
    assert.equal(classicInstant(at), '2026-11-20 14:17:37.096000+00:00')
    assert.deepEqual(parseInstant(classicInstant(at), new Date()), at)
  })

  it('is read as a date, a time or an age, in UTC unless it says otherwise', () => {
    const read = (text: string) => parseInstant(text, at).toISOString()
    assert.equal(read('2026-11-20'), '2026-11-20T00:00:00.000Z')
    assert.equal(read('2026-11-20T14:17'), '2026-11-20T14:17:00.000Z')
    assert.equal(read('2026-11-20 14:17:01+01:00'), '2026-11-20T13:17:01.000Z')
    assert.equal(read('2h'), '2026-11-20T12:17:37.096Z')
  })

  it('that does not exist, or is none, is refused', () => {
    assert.throws(() => parseInstant('2026-13-01', at), /expected a date that exists, got: 2026-13-01/)
    assert.throws(() => parseInstant('yesterday', at), /expected a date like 2026-11-20, .*, got: yesterday/)
  })

  it('is a person’s age in its two largest units', () => {
    const ages = [-5, 999, 61_000, 3_600_000, 97_261_000, 86_403_000, 172_800_000].map(formatAge)
    assert.deepEqual(ages, ['0s', '0s', '1m 1s', '1h', '1d 3h', '1d', '2d'])
  })
})

describe('a confirmation', () => {
  const terminal = (answer: string) => {
    const input = Object.assign(new PassThrough(), { isTTY: true })
    input.end(answer)
    return { input, output: Object.assign(new PassThrough(), { isTTY: true }) }
  }

  it('is given by y or yes, and by nothing else', async () => {
    assert.equal(await confirm('Go?', { yes: false }, terminal('y\n')), true)
    assert.equal(await confirm('Go?', { yes: false }, terminal('YES\n')), true)
    assert.equal(await confirm('Go?', { yes: false }, terminal('\n')), false)
    assert.equal(await confirm('Go?', { yes: false }, terminal('yesterday\n')), false)
    assert.equal(await confirm('Go?', { yes: false }, terminal('')), false)
  })

  it('is not asked for with --yes', async () => {
    assert.equal(await confirm('Go?', { yes: true }, { input: new PassThrough(), output: new PassThrough() }), true)
  })

  it('without a terminal is exit 2 and names the flag', async () => {
    const nowhere = { input: new PassThrough(), output: new PassThrough() }
    await assert.rejects(confirm('Go?', { yes: false }, nowhere), { exitCode: 2, hint: /--yes/ })
  })
})
