import { once } from 'node:events'
import { createInterface } from 'node:readline/promises'
import { UsageError } from '../task/errors.js'

interface Terminal {
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly output: NodeJS.WritableStream & { readonly isTTY?: boolean }
}

/**
 * Whether the person at the terminal agrees. Asks on stderr, so that a redirected stdout holds the answer only.
 *
 * @throws {UsageError} when there is no terminal to ask on and `--yes` was not given
 */
export async function confirm(
  question: string,
  { yes }: { readonly yes: boolean },
  { input, output }: Terminal = { input: process.stdin, output: process.stderr },
): Promise<boolean> {
  if (yes) return true
  if (!input.isTTY || !output.isTTY) {
    throw new UsageError('this needs a yes, and there is no terminal to ask on', {
      hint: 'give --yes to go ahead, or --dry-run to look first',
    })
  }
  const terminal = createInterface({ input, output })
  const ended = once(terminal, 'close').then(() => '') // a question alone would wait for ever
  try {
    const answer = await Promise.race([terminal.question(`${question} [y/N] `), ended])
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    terminal.close()
  }
}
