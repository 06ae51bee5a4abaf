import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { chain, createApp } from 'taskledger'

// Where ledger, broker and result backend are, and which queue which task goes to, stands in taskledger.config.json of the folder
// this runs in.
export const app = createApp()

/** What an order costs in euros, by the rates of the day. */
app.task('billing.invoice', async (order) => {
  const rates = JSON.parse(await readFile('rates.json', 'utf8'))
  const rate = rates[order.currency]
  if (!rate) throw new RangeError(`there is no rate for ${order.currency}`)
  return { ...order, number: `INV-${order.order}`, euros: Math.round(order.cents * rate) / 100 }
})

/** Writes an invoice down, and answers where. */
app.task('billing.archive', async (invoice) => {
  await mkdir('invoices', { recursive: true })
  const file = `invoices/${invoice.number}.json`
  await writeFile(file, JSON.stringify(invoice, null, 2))
  return file
})

const remind = app.task('billing.remind', async (order) => {
  await writeFile(`reminder-${order}.txt`, `Order ${order} is not paid yet.\n`)
  return order
})

const confirm = app.task('billing.confirm', (order) => `the customer of order ${order} was reminded`)

/** A workflow that begins here, has a step in Celery, and ends here. */
export const reminder = (order) => chain(remind.s(order), app.signature('orders.reminded'), confirm.s())
