import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Where tests find a server. */
export const RABBITMQ = 'amqp://guest:guest@127.0.0.1:5672'

/** A vhost of that server. */
export interface Vhost extends AsyncDisposable {
  readonly url: string
  /** The names of its queues that begin so. */
  queues(prefix: string): Promise<string[]>
  /** How many messages are in its queues, those in the hands of workers too. */
  messages(): Promise<number>
  /** Closes every connection, as an operator does. */
  closeConnections(): Promise<void>
}

export async function openVhost(): Promise<Vhost> {
  const name = `taskledger-test-${randomUUID()}`
  const control = async (...args: string[]) => (await run('rabbitmqctl', ['-q', ...args])).stdout
  await control('add_vhost', name)
  await control('set_permissions', '-p', name, 'guest', '.*', '.*', '.*')
  return {
    url: `${RABBITMQ}/${name}`,
    queues: async (prefix) => (await control('list_queues', '-p', name, 'name')).split('\n').filter((queue) => queue.startsWith(prefix)),
    messages: () => countMessages(name),
    async closeConnections() {
      await control('close_all_connections', '--vhost', name, 'closed by a test')
    },
    async [Symbol.asyncDispose]() {
      await control('delete_vhost', name)
    },
  }
}

/**
 * What `rabbitmqctl list_queues messages` asks the node. Tests ask it so often that the second which that takes to start is too long.
 * Each call is a node of a name of its own: of two that have one name at one time, one is turned away.
 */
async function countMessages(vhost: string): Promise<number> {
  const cookie = await readFile('/var/lib/rabbitmq/.erlang.cookie', 'latin1')
  const asked = run('erl_call', ['-sname', 'rabbit', '-h', randomUUID(), '-c', cookie.trim(), '-e'])
  asked.child.stdin?.end(
    `lists:sum([Count || Queue <- rabbit_amqqueue:list(<<"${vhost}">>), {_, Count} <- rabbit_amqqueue:info(Queue, [messages])]).\n`,
  )
  const { stdout } = await asked
  const [, count] = stdout.match(/^\{ok, (\d+)\}$/) ?? []
  if (count === undefined) throw new Error(`the RabbitMQ node answered ${stdout}`)
  return Number(count)
}
