import type { Broker } from '../../src/lib/broker/broker.js'
import type { TaskMessage } from '../../src/lib/task/message.js'

/** A broker whose queues have other names on the server, where several tests are at work. */
export function renamed(broker: Broker, nameOf: (queue: string) => string): Broker {
  const names = new Map<string, string>()
  const outside = (queue: string): string => {
    names.set(nameOf(queue), queue)
    return nameOf(queue)
  }
  const inside = (queue: string): string => names.get(queue) ?? queue
  const on = (message: TaskMessage, name: (queue: string) => string): TaskMessage => ({
    ...message,
    queue: name(message.queue),
    routingKey: name(message.routingKey),
  })
  return {
    within: null,
    publish: (messages) => broker.publish(messages.map((message) => on(message, outside))),
    receive: async (queues, limit, leaseMs) => {
      const deliveries = await broker.receive(queues.map(outside), limit, leaseMs)
      return deliveries.map((delivery) => ({ ...delivery, message: on(delivery.message, inside) }))
    },
    wait: (queues, timeoutMs, signal) => broker.wait(queues.map(outside), timeoutMs, signal),
    leave: (queues) => broker.leave(queues.map(outside)),
    ack: (delivery) => broker.ack(delivery),
    ackAll: (deliveries) => broker.ackAll(deliveries),
    reject: (delivery, options) => broker.reject(delivery, options),
    extend: (deliveries, leaseUntil) => broker.extend(deliveries, leaseUntil),
    drop: (taskIds) => broker.drop(taskIds),
    has: (taskId) => broker.has(taskId),
    close: () => broker.close(),
  }
}
