// A Django site with Celery and a Node service share one workflow, over RabbitMQ. The site's workers stay as they are.
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connect } from 'amqplib'
import { say, secondsLeft, secondsPassed, until } from '../lib/story.mjs'
import { end, Terminal } from '../lib/terminal.mjs'
import { Site } from './site.mjs'

const BROKER = process.env.BROKER ?? 'amqp://guest:guest@127.0.0.1:5672'
const RESULTS = process.env.RESULTS ?? 'redis://127.0.0.1:6379/8'

const rabbit = await connect(BROKER)
const home = mkdtempSync(join(tmpdir(), 'taskledger-celery-'))
const queues = { shop: `shop-${process.pid}`, billing: `billing-${process.pid}` }
const settings = {
  database: 'sqlite:billing.db',
  app: fileURLToPath(new URL('service.mjs', import.meta.url)),
  broker: BROKER,
  celeryResults: RESULTS,
  defaultQueue: queues.billing,
  routes: { 'orders.*': queues.shop },
  resultExpires: 60,
}
const rates = { EUR: 1, USD: 0.92 }
writeFileSync(join(home, 'taskledger.config.json'), JSON.stringify(settings, null, 2))
writeFileSync(join(home, 'rates.json'), JSON.stringify(rates))
process.chdir(home)

const terminal = new Terminal(home)
const site = new Site({
  SHOP_DATABASE: join(home, 'shop.db'),
  SHOP_BROKER: BROKER,
  SHOP_RESULTS: RESULTS,
  SHOP_QUEUE: queues.shop,
  BILLING_QUEUE: queues.billing,
})
terminal.type('taskledger', ['migrate'])

const { app, reminder } = await import('./service.mjs')
const workers = []
try {
  await main()
} finally {
  await Promise.all(workers.map((worker) => end(worker, 'SIGKILL')))
  await app.close()
  await removeQueues()
}

async function main() {
  say('A Celery worker for the tasks of the site, orders.*, and a Node worker for those of the service, billing.*')
  const celery = site.startWorker()
  workers.push(celery.child)
  console.log('\n$ taskledger worker &')
  workers.push(terminal.startWorker([]))
  await celery.ready

  say('The site places orders: each a chain of a step in Python, one in Node, one in Python and one in Node, awaited with .get()')
  const placed = site.run('place_orders.py')
  check(placed, 'order 1 of Ada: archived as invoices/INV-1.json', 'order 3 of Barbara: on hold')

  say('Each step that ran in Node is a row, and its end is known. Those that went to Celery are rows, too: that they were sent is known.')
  terminal.type('taskledger', ['list'], { lines: 20 })

  say('The service begins a workflow, too, to be started in two seconds. Until then it is a row, and in no memory.')
  const reminded = await reminder(2).applyAsync({ countdown: 2 })
  terminal.type('taskledger', ['list', '--task', 'billing.remind'])

  say('One order failed in Node; its errback ran in Python and put it on hold. With the rate there a copy goes on, in both languages.')
  writeFileSync('rates.json', JSON.stringify({ ...rates, CHF: 1.07 }))
  terminal.type('taskledger', ['retry', '--task', 'billing.invoice', '--error-type', 'RangeError', '--yes'])
  await until('the last step of the order is done', () => existsSync('invoices/INV-3.json'))
  console.log(`  ${await reminded.get({ timeout: secondsLeft() })}`)

  say("What the site's own database says now:")
  check(site.run('show_orders.py'), 'order 2 of Grace: invoiced INV-2 (reminded)', 'order 3 of Barbara: invoiced INV-3')
  say('Three orders, each invoiced once, by one workflow in two languages.')
  console.log(`  The ledger lies at ${join(home, 'billing.db')}`)
  console.log(`  ${secondsPassed().toFixed(1)} s`)
}

function check(printed, ...lines) {
  const missing = lines.find((line) => !printed.split('\n').includes(line))
  if (missing !== undefined) throw new Error(`expected '${missing}', got:\n${printed}`)
}

/** They are of this run alone. */
async function removeQueues() {
  const channel = await rabbit.createChannel()
  for (const name of Object.values(queues)) {
    await channel.deleteQueue(name)
    await channel.deleteExchange(name)
  }
  await rabbit.close()
}
