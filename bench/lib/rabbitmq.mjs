import { randomBytes } from 'node:crypto'
import { connect } from 'amqplib'

export const RABBITMQ = process.env.BENCH_RABBITMQ ?? 'amqp://guest:guest@127.0.0.1:5672'

/** Runs `use` with the name of a queue that nobody else has; it is gone afterwards. */
export async function withQueue(use) {
  const queue = `taskledger-bench-${process.pid}-${randomBytes(4).toString('hex')}`
  try {
    return await use(queue)
  } finally {
    const connection = await connect(RABBITMQ)
    const channel = await connection.createChannel()
    await channel.deleteQueue(queue)
    await channel.deleteExchange(queue)
    await connection.close()
  }
}
