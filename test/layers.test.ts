import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import ts from 'typescript'
import { ROOT } from './helpers/run.js'

/** Each line may import from the lines below it; folders on one line do not know each other. */
const LAYERS = [
  ['task'],
  ['canvas', 'database'],
  ['ledger', 'broker', 'celery'],
  ['publish'],
  ['worker', 'schedule', 'watch'],
  ['app'],
  ['cli', 'admin'],
  ['commands'],
  ['index.ts'],
]

interface Import {
  readonly from: string
  readonly to: string
}

/** Every import and re-export of our own files, types and `import()` too, as paths below the package's root. */
const imports = ['src', 'migrations'].flatMap(sourceFiles).flatMap(importsOf)

/** Below `src/lib/` the folder, at the top of `src/` the file or folder. */
const houseOf = (path: string): string => path.split('/').filter((part) => part !== 'src' && part !== 'lib')[0] ?? ''

const layerOf = (path: string): number => LAYERS.findIndex((line) => line.includes(houseOf(path)))

const shown = ({ from, to }: Import): string => `${from} -> ${to}`

describe('the layers', () => {
  it('have a place for every file', () => {
    assert.deepEqual(
      sourceFiles('src').filter((path) => layerOf(path) === -1),
      [],
    )
  })

  it('import downwards only, and never sideways', () => {
    const wrong = imports.filter(
      ({ from, to }) => to.startsWith('src/') && houseOf(from) !== houseOf(to) && from.startsWith('src/') && layerOf(to) >= layerOf(from),
    )
    assert.deepEqual(wrong.map(shown), [])
  })

  it('have no import cycle', () => {
    assert.equal(findCycle(), null)
  })

  it('keep the migrations free of the program', () => {
    const wrong = imports.filter(({ from, to }) => from.startsWith('migrations/') && to.startsWith('src/'))
    assert.deepEqual(wrong.map(shown), [])
  })

  it('read the environment in one file', () => {
    // setting a variable for a library is no reading
    const readers = sourceFiles('src').filter((path) => /\bprocess\s*\.\s*env\b(?!\['\w+'\] = )|\bprocess\[/.test(code(path)))
    assert.deepEqual(
      readers.filter((path) => path !== 'src/lib/app/setting-sources.ts'),
      [],
    )
  })

  it('speak to knex in database/, ledger/ and broker/ only', () => {
    const users = sourceFiles('src').filter((path) => /^import (?!type\b).*\bfrom 'knex'|\bimport\('knex'\)/m.test(code(path)))
    assert.deepEqual(
      users.filter((path) => !['database', 'ledger', 'broker'].includes(houseOf(path))),
      [],
    )
  })
})

function sourceFiles(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((entry) => /\.(ts|js)$/.test(entry))
    .map((entry) => [folder, ...entry.split(sep)].join('/'))
}

function importsOf(from: string): Import[] {
  const { importedFiles } = ts.preProcessFile(code(from), true, true)
  return importedFiles
    .filter(({ fileName }) => fileName.startsWith('.'))
    .map(({ fileName }) => {
      const written = relative(ROOT, join(ROOT, dirname(from), fileName))
        .split(sep)
        .join('/')
      return { from, to: written.startsWith('src/') ? written.replace(/\.js$/, '.ts') : written }
    })
}

function code(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}

/** Files that import each other in a ring, or null. */
function findCycle(): string[] | null {
  const next = new Map<string, Import[]>()
  for (const one of imports) next.set(one.from, [...(next.get(one.from) ?? []), one])
  const finished = new Set<string>()
  const visit = (file: string, path: string[]): string[] | null => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (finished.has(file)) return null
    for (const { to } of next.get(file) ?? []) {
      const cycle = visit(to, [...path, file])
      if (cycle) return cycle
    }
    finished.add(file)
    return null
  }
  for (const file of next.keys()) {
    const cycle = visit(file, [])
    if (cycle) return cycle
  }
  return null
}
