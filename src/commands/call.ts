import { Args, Flags } from '@oclif/core'
import { LedgerCommand } from '../lib/cli/command.js'
import { due } from '../lib/cli/flags.js'
import type { PublishOptions } from '../lib/publish/request.js'
import { formatDurationMs, parseDurationMs } from '../lib/task/duration.js'
import { PlainError, UsageError } from '../lib/task/errors.js'
import { isJsonObject, type JsonObject } from '../lib/task/json.js'

const seconds = Flags.custom<number>({ parse: async (text) => parseDurationMs(text) / 1000 })

export default class Call extends LedgerCommand {
  static override summary = 'Publish a task by its name.'
  static override description =
    'The task may be registered in another program; a worker that does not know it fails it. Prints the id of the recorded task.'
  static override examples = [
    "<%= config.bin %> <%= command.id %> add --args '[2, 2]' --wait 10s",
    '<%= config.bin %> <%= command.id %> mail.send --kwargs \'{"to": "a@example.com"}\' --queue mail --countdown 10m',
  ]
  static override args = { task: Args.string({ description: 'The name of the task.', required: true, ignoreStdin: true }) }
  static override flags = {
    args: Flags.string({ summary: 'Positional arguments, as a JSON array.', default: '[]', helpValue: 'JSON' }),
    kwargs: Flags.string({ summary: 'Arguments by name, as a JSON object.', default: '{}', helpValue: 'JSON' }),
    queue: Flags.string({ summary: 'Send it to this queue.', helpValue: 'NAME' }),
    priority: Flags.integer({ summary: 'Higher is delivered first.', min: 0, max: 255, helpValue: 'N' }),
    countdown: seconds({ summary: 'Not before this long from now: 90s, 10m.', helpValue: 'DURATION', exclusive: ['eta'] }),
    eta: due({ summary: 'Not before this time.' }),
    expires: seconds({ summary: 'Not to be started later than this long from now.', helpValue: 'DURATION' }),
    header: Flags.string({
      summary: 'A header, as name=value. Repeatable.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAME=VALUE',
    }),
    id: Flags.string({ summary: 'The id of the task. Default: a new one.', helpValue: 'ID' }),
    'ignore-result': Flags.boolean({ summary: 'Keep no record of its execution.' }),
    wait: seconds({ summary: 'Wait this long for the result, and print it.', helpValue: 'DURATION' }),
  }

  async run() {
    const { args, flags } = await this.parse(Call)
    const positional = parseJson('--args', flags.args)
    if (!Array.isArray(positional)) throw new UsageError(`--args: expected a JSON array, got: ${flags.args}`)
    const kwargs = parseJson('--kwargs', flags.kwargs)
    if (!isJsonObject(kwargs as JsonObject)) throw new UsageError(`--kwargs: expected a JSON object, got: ${flags.kwargs}`)
    const options: PublishOptions = {
      kwargs: kwargs as JsonObject,
      ...(flags.queue !== undefined && { queue: flags.queue }),
      ...(flags.priority !== undefined && { priority: flags.priority }),
      ...(flags.countdown !== undefined && { countdown: flags.countdown }),
      ...(flags.eta !== undefined && { eta: flags.eta }),
      ...(flags.expires !== undefined && { expires: flags.expires }),
      ...(flags.header && { headers: headersOf(flags.header) }),
      ...(flags.id !== undefined && { taskId: flags.id }),
      ...(flags['ignore-result'] && { ignoreResult: true }),
    }
    const app = await this.app('write')
    const result = await app.sendTask(args.task, positional, options)
    if (flags.wait === undefined) {
      this.log(result.id)
      return { version: 1, kind: 'call', taskId: result.id, task: args.task, status: await result.state() }
    }
    this.say(result.id)
    const value = await result.get({ timeout: flags.wait }).catch((error) => {
      const hint = `taskledger show ${result.id} tells more`
      if (error.name === 'TimeoutError')
        throw new PlainError(`the task has not ended within ${formatDurationMs((flags.wait ?? 0) * 1000)}`, { hint, cause: error })
      throw new PlainError(`the task failed: ${error.name}: ${error.message}`, { hint, cause: error })
    })
    this.log(JSON.stringify(value))
    return { version: 1, kind: 'call', taskId: result.id, task: args.task, status: await result.state(), result: value }
  }
}

function parseJson(flag: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new UsageError(`${flag}: expected JSON, got: ${text}`, {
      hint: `for example ${flag} '${flag === '--args' ? '[1, "two"]' : '{"name": "value"}'}'`,
      cause,
    })
  }
}

function headersOf(pairs: readonly string[]): JsonObject {
  const entries = pairs.map((pair) => {
    const at = pair.indexOf('=')
    if (at < 1) throw new UsageError(`--header: expected name=value, got: ${pair}`)
    return [pair.slice(0, at), pair.slice(at + 1)] as const
  })
  return Object.fromEntries(entries)
}
