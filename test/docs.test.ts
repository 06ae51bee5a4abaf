import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Command lines that set this very project up: `.ci/run` and test/examples run them. */
const RUN_ELSEWHERE = ['npm ci && npm run quickstart', 'npm ci && npm test', 'npm run lint']

interface Typed {
  readonly line: string
  readonly printed: string
}

/** The `console` blocks of a page: each line after `$`, and what the page says it prints. */
function typedIn(page: string): Typed[] {
  const blocks = [...page.matchAll(/```console\n([\s\S]*?)```/g)].map(([, block]) => block ?? '')
  return blocks.flatMap((block) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((part) => {
        const [line = '', ...printed] = part.trimEnd().split('\n')
        return { line: line.replace(/\s+# .*$/, ''), printed: printed.join('\n') }
      }),
  )
}

/** JavaScript blocks that begin with their file's name. */
function filesIn(page: string): [name: string, text: string][] {
  return [...page.matchAll(/```js\n\/\/ (\S+\.mjs)\n([\s\S]*?)```/g)].map(([, name = '', text = '']) => [name, text])
}

/** Ids that the ledger makes, instants and amounts differ from run to run. */
const normalised = (text: string): string =>
  text
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'ID')
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00/g, 'TIME')
    .trimEnd()

/** An empty project with the package installed, and its programs where a shell finds them. */
function openProject() {
  const folder = mkdtempSync(join(tmpdir(), 'taskledger-docs-'))
  mkdirSync(join(folder, 'node_modules'))
  mkdirSync(join(folder, 'bin'))
  symlinkSync(root, join(folder, 'node_modules', 'taskledger'))
  const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { bin: Record<string, string> }
  for (const [name, file] of Object.entries(bin)) {
    const path = join(folder, 'bin', name)
    writeFileSync(path, `#!/bin/sh\nexec "${process.execPath}" "${join(root, file)}" "$@"\n`)
    chmodSync(path, 0o755)
  }
  const env = { ...process.env, PATH: `${join(folder, 'bin')}${delimiter}${process.env['PATH']}` }
  const background: ChildProcess[] = []
  return {
    write: (files: readonly [name: string, text: string][]): void => {
      for (const [name, text] of files) writeFileSync(join(folder, name), text)
    },
    run: (line: string): string => {
      const { stdout, status } = spawnSync('sh', ['-c', `exec 2>&1; ${line}`], { cwd: folder, env, encoding: 'utf8' })
      assert.equal(status === 0, !/^taskledger: (?!warning)/m.test(stdout), `${line}\n${stdout}`)
      return stdout
    },
    start: (line: string): void => {
      background.push(spawn('sh', ['-c', `exec ${line}`], { cwd: folder, env, stdio: 'ignore' }))
    },
    close: async () => {
      for (const child of background) {
        const gone = new Promise((resolve) => child.once('exit', resolve))
        child.kill('SIGTERM')
        await gone
      }
      rmSync(folder, { recursive: true })
    },
  }
}

/** Types one line; one that ends in & goes on beside the others. */
function type(project: ReturnType<typeof openProject>, { line, printed }: Typed): void {
  if (line.endsWith(' &')) project.start(line.slice(0, -2))
  else assert.equal(normalised(project.run(line)), normalised(printed), line)
}

const pages = ['README.md', 'CONTRIBUTING.md', 'ARCHITECTURE.md', ...readdirSync(join(root, 'docs')).map((name) => join('docs', name))]

describe('the documentation', function () {
  this.timeout(60_000)
  const onWindows = process.platform === 'win32' // its lines are for a POSIX shell

  for (const name of pages) {
    const page = readFileSync(join(root, name), 'utf8')
    const lines = typedIn(page).filter(({ line }) => !RUN_ELSEWHERE.includes(line))
    if (lines.length === 0) continue
    ;(onWindows ? it.skip : it)(`${name} prints what its command lines print`, async () => {
      const project = openProject()
      try {
        project.write([...filesIn(readFileSync(join(root, 'README.md'), 'utf8')), ...filesIn(page)])
        if (name !== 'README.md') project.run('taskledger migrate')
        if (name === 'docs/commands.md') project.start('taskledger worker --app ./tasks.mjs --no-sender')
        for (const typed of lines) type(project, typed)
      } finally {
        await project.close()
      }
    })
  }

  it('links only to pages that are there', () => {
    for (const name of pages) {
      const page = readFileSync(join(root, name), 'utf8')
      for (const [, target = ''] of page.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) {
        assert.doesNotThrow(() => readFileSync(join(root, name, '..', target)), `${name} links to ${target}`)
      }
    }
  })

  it('names every command, and every setting with its variable', async () => {
    const { commands } = await import('../src/commands/index.js')
    const { SETTING_NAMES } = await import('../src/lib/app/settings.js')
    const { variableOf } = await import('../src/lib/app/setting-sources.js')
    const page = (name: string) => readFileSync(join(root, 'docs', name), 'utf8')
    for (const id of Object.keys(commands)) assert.ok(page('commands.md').includes(`\`${id}\``), id)
    for (const setting of SETTING_NAMES)
      assert.match(page('settings.md'), new RegExp(`\\| \`${setting}\` +\\| \`${variableOf(setting)}\` +\\|`), setting)
  })
})
