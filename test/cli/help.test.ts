import assert from 'node:assert/strict'
import { commands } from '../../src/commands/index.js'
import { run } from '../helpers/run.js'

/** Help as it is on a terminal of 80 columns. */
async function helpOf(id: string): Promise<string[]> {
  const { stdout, stderr, code } = await run('run', [...id.split(':'), '--help'], { env: { COLUMNS: '80', OCLIF_COLUMNS: '80' } })
  assert.deepEqual([stderr, code], ['', 0])
  return stdout.split('\n')
}

/** The lines of a section. */
const under = (help: readonly string[], header: string): string[] => {
  const from = help.indexOf(header) + 1
  return from === 0 ? [] : help.slice(from, help.indexOf('', from))
}

describe('the help of a command', () => {
  for (const id of Object.keys(commands)) {
    it(`is in order on a terminal of 80 columns: ${id}`, async () => {
      const help = await helpOf(id)
      const headers = help.filter((line) => /^[A-Z][A-Z ]+$/.test(line))

      assert.match(under(help, 'USAGE').join(), new RegExp(`^ {2}\\$ taskledger ${id.replace(':', ' ')} .*\\[FLAGS]$`))
      assert.equal(headers.filter((header) => header.endsWith('FLAGS')).at(-1), 'GLOBAL FLAGS', 'what every command takes stands last')
      assert.equal(help.filter((line) => line.trim() === help[0]).length, 1, 'the summary stands there once')
      assert.deepEqual(
        help.slice(0, help.indexOf('EXAMPLES')).filter((line) => line.length > 80),
        [],
      )
      for (const header of headers.filter((one) => one.endsWith('FLAGS'))) {
        const columns = under(help, header).flatMap((line) => /^ +(?:-\w, )?--/.exec(line)?.[0].length ?? [])
        assert.equal(new Set(columns).size, 1, `${header}: the names stand in one column`)
      }
      const [, examples = ''] = help.join('\n').split('\nEXAMPLES\n')
      for (const example of examples
        .replace(/\nCOMMANDS\n.*/s, '')
        .split(/\n+/)
        .filter(Boolean))
        assert.match(example, /^ {2}\$ /)
    })
  }

  it('says what an operator must know before stopping a worker or revoking', async () => {
    const flat = async (id: string) => (await helpOf(id)).join(' ').replaceAll(/ +/g, ' ')
    const worker = await flat('worker')
    assert.match(worker, /early-ack ones fail as WorkerShutdown, or are sent again where their onWorkerLost is retry/)
    for (const setting of ['concurrency', 'shutdownTimeout', 'defaultQueue', 'app'])
      assert.ok(worker.includes(`Default: the setting ${setting}.`), setting)
    assert.match(
      await flat('revoke'),
      /Without --status, a selection by flags means tasks that have not started and, with --terminate, those that run\./,
    )
    for (const id of ['show', 'retry', 'revoke'])
      assert.match(await flat(id), /An ID may be shortened to 8 characters or more; - reads ids from stdin/)
  })
})
