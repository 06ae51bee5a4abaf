import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'

interface Packed {
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
}

describe('the package', function () {
  this.timeout(180_000)
  let folder: string
  let packed: Packed

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'taskledger-package-'))
    // dist was built before the tests; packing would build it again under the running ones
    const answer = execFileSync(npm, ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: root, encoding: 'utf8' })
    const document = JSON.parse(answer) as Packed[] | Record<string, Packed>
    packed = Object.values(document)[0] as Packed
  })

  after(() => {
    rmSync(folder, { recursive: true })
  })

  it('holds what runs and nothing else', () => {
    const tops = new Set(packed.files.map(({ path }) => path.split('/')[0]))
    assert.deepEqual([...tops].sort(), ['LICENSE', 'README.md', 'bin', 'dist', 'migrations', 'package.json'])
    const stray = packed.files.filter(({ path }) => /\.cache|\.ts$|dev\.js/.test(path) && !path.endsWith('.d.ts'))
    assert.deepEqual(stray, [])
  })

  it('declares every file that its doors lead to', () => {
    const { exports, bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    const named = [exports['.'].types, exports['.'].default, ...Object.values(bin)].map((path) => String(path).replace(/^\.\//, ''))
    const paths = packed.files.map(({ path }) => path)
    assert.deepEqual(
      named.filter((path) => !paths.includes(path)),
      [],
    )
  })

  it('runs a task in an empty project it is installed into', () => {
    const project = join(folder, 'project')
    cpSync(join(root, 'test', 'fixtures', 'empty-project'), project, { recursive: true })
    // compiling SQLite once more takes a minute and tests nothing of ours: what was compiled for this checkout is taken
    execFileSync(npm, ['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', join(folder, packed.filename)], {
      cwd: project,
    })
    cpSync(join(root, 'node_modules', 'better-sqlite3', 'build'), join(project, 'node_modules', 'better-sqlite3', 'build'), {
      recursive: true,
    })

    assert.equal(execFileSync(process.execPath, ['run.mjs'], { cwd: project, encoding: 'utf8' }), '4\n')
    const shim = join(project, 'node_modules', '.bin', process.platform === 'win32' ? 'find-stale-tasks.cmd' : 'find-stale-tasks')
    const stale = execFileSync(shim, ['--hours', '1', '--database', 'sqlite:ledger.db'], {
      cwd: project,
      encoding: 'utf8',
      shell: process.platform === 'win32',
    })
    assert.equal(stale, 'Stale tasks:\n')
    writeFileSync(
      join(project, 'typed.mts'),
      "import { createApp } from 'taskledger'\nconst app = createApp()\nexport const n: Promise<number> = app.task('n', (x: number) => x).delay(1).then((r) => r.get())\n",
    )
    execFileSync(
      process.execPath,
      [
        join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
        '--strict',
        '--noEmit',
        '--skipLibCheck',
        '--module',
        'nodenext',
        '--target',
        'es2022',
        '--typeRoots',
        join(root, 'node_modules', '@types'),
        '--types',
        'node',
        'typed.mts',
      ],
      { cwd: project, stdio: 'inherit' },
    )
  })
})
