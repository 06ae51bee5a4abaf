import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { casesOf, EMBEDDED, OUTSIDE, POINTS, shown } from './cases.js'
import { interruptAll, type Line, problemsOf } from './interruption.js'
import { PAGE, pageWith, sectionOf } from './page.js'

const ENGINES = [EMBEDDED, OUTSIDE]
const CASES = ENGINES.flatMap(casesOf)

const onPosix = process.platform === 'win32' ? describe.skip : describe // elsewhere nobody can stop a process and let it go on

onPosix('a program interrupted at every failpoint', function () {
  this.timeout(600_000)
  let lines: Map<string, Line | Error>

  before(async () => {
    lines = await interruptAll(CASES, 10)
  })

  it('is tried at each of them', () => {
    assert.deepEqual([...new Set(CASES.map(({ point }) => point))].sort(), [...POINTS].sort())
  })

  for (const engine of ENGINES) {
    for (const point of POINTS) {
      const cases = CASES.filter((one) => one.engine === engine && one.point === point)
      if (cases.length === 0) continue
      it(`loses nothing at ${point}, on ${engine.name}`, () => {
        const wrong = cases.map((one) => [shown(one), problemsOf(lines.get(shown(one)))] as const).filter(([, found]) => found.length > 0)
        assert.deepEqual(Object.fromEntries(wrong), {})
      })
    }
  }

  it('leaves behind what the page on delivery guarantees says', () => {
    const page = pageWith(
      '<!-- written by `npm run guarantees` -->',
      ENGINES.flatMap((engine) => sectionOf(engine, lines)),
    )
    if (process.env['npm_lifecycle_event'] === 'guarantees') writeFileSync(PAGE, page)
    assert.equal(readFileSync(PAGE, 'utf8'), page, 'run `npm run guarantees`, and read what has changed')
  })
})
