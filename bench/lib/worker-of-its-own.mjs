// A worker in a process of its own, which tells its memory when it is asked.
import { appendFileSync } from 'node:fs'
import { createApp } from '../../dist/index.js'

const [database, broker, defaultQueue] = process.argv.slice(2)
const app = createApp({ database, broker, defaultQueue })
app.task('started_at', (file) => appendFileSync(file, `${Date.now()}\n`))
const worker = app.worker()

process.on('message', async (asked) => {
  if (asked === 'stop') return worker.stop()
  for (let i = 0; i < 5; i++) {
    globalThis.gc()
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  process.send(process.memoryUsage.rss())
})
await worker.run()
await app.close()
process.disconnect()
